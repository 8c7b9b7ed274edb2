/*
 * Tests of the sink on a server in memory: each row is stored once, those of a table in their
 * order, whatever waits, fails or is refused, and memory is bounded.
 *
 * Linked with: base/buf.c base/hash.c base/tally.c urlenc.c event/json.c event/format.c
 * event/told.c
 * event/binary.c event/date.c event/zone.c event/list.c event/period.c
 * pg/sqlstate.c sink/block.c sink/level.c sink/stream.c sink/fault.c sink/lane.c sink/sink.c
 */
#include "unit.h"
#include "server.h"

#define TABLES 12
#define LANES 2
#define NOTE_MAX 4000

static struct span target[] = { TEXT("id"), TEXT("note") };
static struct shape shape = { .n = 2, .source = target, .target = target, .part_at = 2 };

/* What a test is about: a pass over so many rows. */
struct pass_over {
	struct sink *sink;
	struct pq server[LANES];
	size_t lanes, tables, rows, note; /* note: bytes of a row's text, at most */
	/* each so many-th row is refused, or left out by a trigger, or is one that only the server
	 * reads (50 by default) */
	size_t bad_each, deaf_each, suspect_each;
	size_t bad_at;                  /* one more row is suspect and refused, from 1; 0: none */
	bool ordered;
	size_t peak;                    /* bytes of blocks in use, */
	size_t held;                    /* and of those that wait apart */
	int64_t told[1000];             /* events that failed, in the order of their errors */
	size_t ntold;
};

/* ---- types: of every second table, once a COPY to it was over */

static size_t looked;

static int look(void *arg, struct pq *dst, size_t of, int64_t start_s, const char *table,
	struct err *e)
{
	(void)arg;
	(void)of;
	(void)start_s;
	(void)table;
	(void)e;
	looked++;
	return dst->state == IDLE ? 0 : (abort(), 0);
}

static bool kinds_of(void *arg, size_t of, int64_t start_s, const char *table,
	const struct shape *s, enum binary_kind *kinds)
{
	(void)arg;
	(void)of;
	(void)table;
	(void)s;
	kinds[0] = BINARY_INT8;
	kinds[1] = BINARY_TEXT;
	return start_s / 3600 % 2;
}

/* Those of every table. */
static bool kinds_of_all(void *arg, size_t of, int64_t start_s, const char *table,
	const struct shape *s, enum binary_kind *kinds)
{
	kinds_of(arg, of, start_s, table, s, kinds);
	return true;
}

static const struct sink_types all_typed = { .look = look, .kinds = kinds_of_all };

/* ---- a pass */

static char filler[NOTE_MAX];           /* main fills it */

static struct stream *stream_of(struct pass_over *p, size_t table)
{
	char name[16];
	struct stream *st = sink_find(p->sink, (int64_t)table * 3600, 1);

	if (st)
		return st;
	snprintf(name, sizeof name, "t%zu", table);
	return sink_add(p->sink, 0, (int64_t)table * 3600, 1, table % p->lanes, span_of(name), name,
		"id, note");
}

static bool is_each(size_t i, size_t each)
{
	return each && i % each == each - 1;
}

static bool is_bad(const struct pass_over *p, size_t i)
{
	return is_each(i, p->bad_each) || i + 1 == p->bad_at;
}

static bool is_suspect(const struct pass_over *p, size_t i)
{
	return is_each(i, p->suspect_each ? p->suspect_each : 50) || i + 1 == p->bad_at;
}

/* A row of table i % tables; a suspect one has a blank before its number, which only the server
 * reads. */
static int put(struct pass_over *p, size_t i, struct err *e)
{
	char id[32], note[NOTE_MAX + 16];
	size_t n = p->note ? i * 7919 % p->note : 0;

	snprintf(id, sizeof id, "%s%zu", is_suspect(p, i) ? "+" : "", i);
	snprintf(note, sizeof note, "%s%.*s", is_bad(p, i) ? "bad" :
		is_each(i, p->deaf_each) ? "deaf" : "good", (int)n, filler);
	struct span values[] = { span_of(id), span_of(note) };
	struct event ev = { .id = (int64_t)i, .data = span_of(note) };
	if (p->peak < p->sink->pool.used)
		p->peak = p->sink->pool.used;
	if (p->held < p->sink->held)
		p->held = p->sink->held;
	return stream_put(p->sink, stream_of(p, i % p->tables), &shape, FORMAT_URLENC, values,
		&ev, e);
}

/* As a pass does: an event that failed is told, and left out. */
static int pump(struct pass_over *p, size_t lane, enum sink_until until, struct err *e)
{
	struct sink_fault fault;
	int rc;

	while ((rc = lane_pump(p->sink, lane, &p->server[lane], until, &fault, e)) < 0) {
		if (e->code != ERR_DATA || fault.event < 0 || p->ntold == COUNT(p->told))
			return rc;
		p->told[p->ntold++] = fault.event;
		*e = (struct err){ 0 };
	}
	return rc;
}

static int pump_all(struct pass_over *p, enum sink_until until, struct err *e)
{
	for (size_t lane = 0; lane < p->lanes; lane++)
		if (pump(p, lane, until, e) < 0)
			return e->code;
	return 0;
}

/* A sink that never makes room, or never comes to rest, is an error. */
#define PUMPS_MAX 100000

static int run(struct pass_over *p, bool careful, struct err *e)
{
	int pumps = 0;

	p->ntold = p->peak = p->held = 0;
	sink_begin(p->sink, careful, p->ordered);
	for (size_t i = 0; i < p->rows && !e->code; i++) {
		if (put(p, i, e) == 0 && (i % 256 == 255 || sink_full(p->sink)))
			pump_all(p, SINK_FULL, e);
		for (; !e->code && sink_full(p->sink); pumps++)
			if (pump_all(p, SINK_FULL, e) == 0 && pumps > PUMPS_MAX)
				err_set(e, ERR_OTHER, "the sink stays full");
	}
	for (; !e->code && !sink_idle(p->sink); pumps++)
		if (pump_all(p, SINK_EMPTY, e) == 0 && pumps > PUMPS_MAX)
			err_set(e, ERR_OTHER, "the sink does not come to rest");
	return e->code;
}

static void prepare(struct pass_over *p, uint32_t seed, const struct sink_types *types)
{
	sink_free(p->sink);
	p->sink = sink_new(types);
	for (size_t i = 0; i < LANES; i++)
		server_reset(&p->server[i], seed + (uint32_t)i);
}

static void finish(struct pass_over *p)
{
	sink_free(p->sink);
	for (size_t i = 0; i < LANES; i++)
		server_free(&p->server[i]);
}

/* ---- what is stored */

static bool is_stored(const struct pass_over *p, size_t i)
{
	return !is_bad(p, i) && !is_each(i, p->deaf_each);
}

/* "" where each table has its rows in their order, and only these. */
static const char *disorder(const struct pass_over *p)
{
	static char why[200];
	size_t next[TABLES * 500], stored = 0, wanted = 0;

	for (size_t t = 0; t < p->tables; t++)
		next[t] = t;
	for (size_t lane = 0; lane < p->lanes; lane++)
		for (size_t k = 0; k < p->server[lane].nstored; k++, stored++) {
			const struct stored *s = &p->server[lane].stored[k];
			size_t table = strtoul(s->table + 1, NULL, 10),
				i = strtoul(s->row, NULL, 10);
			while (next[table] < p->rows && !is_stored(p, next[table]))
				next[table] += p->tables;
			snprintf(why, sizeof why, "%s has row %zu, not %zu", s->table, i,
				next[table]);
			if (i != next[table] || !strstr(s->row, "\tgood"))
				return why;
			next[table] += p->tables;
		}
	for (size_t i = 0; i < p->rows; i++)
		wanted += is_stored(p, i);
	snprintf(why, sizeof why, "%zu rows of %zu", stored, wanted);
	return stored == wanted ? "" : why;
}

/* "" where each row is stored once, in any order, and only those. */
static const char *loss(const struct pass_over *p)
{
	static char why[200];
	unsigned char *times = mem_alloc(p->rows);
	const char *wrong = "";

	memset(times, 0, p->rows);
	for (size_t lane = 0; lane < p->lanes; lane++)
		for (size_t k = 0; k < p->server[lane].nstored; k++)
			times[strtoul(p->server[lane].stored[k].row, NULL, 10)]++;
	for (size_t i = 0; i < p->rows && !*wrong; i++)
		if (times[i] != is_stored(p, i)) {
			snprintf(why, sizeof why, "row %zu is stored %d times", i, times[i]);
			wrong = why;
		}
	free(times);
	return wrong;
}

static int64_t unstored(const struct pass_over *p)
{
	return tally_rows(&sink_done(p->sink, 0)->unstored);
}

static void test_order(void)
{
	static const struct { const char *name; struct pass_over p; } cases[] = {
		{ "one table", { .lanes = 1, .tables = 1, .rows = 3000, .note = 200 } },
		{ "tables in turn", { .lanes = 1, .tables = TABLES, .rows = 20000, .note = 300 } },
		{ "two lanes", { .lanes = 2, .tables = TABLES, .rows = 20000, .note = 300 } },
		{ "rows larger than most",
			{ .lanes = 2, .tables = 3, .rows = 5000, .note = NOTE_MAX } },
		{ "a row each", { .lanes = 1, .tables = 3000, .rows = 3000 } },
		{ "many tables", { .lanes = 2, .tables = 5000, .rows = 15000 } },
		{ "nothing", { .lanes = 1, .tables = 1 } },
		{ "rows that a trigger leaves out",
			{ .lanes = 1, .tables = 3, .rows = 5000, .note = 100, .deaf_each = 7 } },
	};
	static const struct sink_types types = { .look = look, .kinds = kinds_of };

	for (size_t i = 0; i < COUNT(cases); i++)
		for (uint32_t seed = 1; seed <= 5; seed++) {
			struct pass_over p = cases[i].p;
			struct err e = { 0 };
			p.ordered = seed < 4;
			prepare(&p, seed, seed % 2 ? &types : NULL);
			run(&p, false, &e);
			check_str(cases[i].name, e.code ? e.msg : p.ordered || seed % 2 == 0 ?
				disorder(&p) : loss(&p), "");
			check_int("rows told and rows stored",
				tally_rows(&sink_done(p.sink, 0)->rows) + unstored(&p),
				(int64_t)p.rows);
			if (p.deaf_each && seed % 2 == 0)
				check_int("rows that were left out", unstored(&p),
					(int64_t)(p.rows / p.deaf_each));
			finish(&p);
		}
}

/* ---- many streams of one partition */

/* Rows of many shapes in turn, all of one partition; at times more than the sink remembers. */
static void test_shapes(void)
{
	enum { SHAPES = STREAMS_MAX + 5000 };
	struct pass_over p = { .lanes = 1, .tables = 1, .rows = SHAPES };
	struct err e = { 0 };

	prepare(&p, 1, NULL);
	sink_begin(p.sink, false, false);
	for (size_t i = 0; i < p.rows && !e.code; i++) {
		char id[32];
		snprintf(id, sizeof id, "%zu", i);
		struct span values[] = { span_of(id), span_of("good") };
		struct event ev = { .id = (int64_t)i, .data = values[1] };
		struct stream *st = sink_add(p.sink, 0, 0, i, 0, span_of("t0"), "t0", "id, note");
		stream_put(p.sink, st, &shape, FORMAT_URLENC, values, &ev, &e);
		if (i < 2)
			check_int("rows wait beside", sink_has_beside(p.sink, st), i == 1);
		while (!e.code && sink_full(p.sink))
			pump_all(&p, SINK_FULL, &e);
	}
	check_int("not all wait", p.sink->waiting <= WAITING_MAX, true);
	while (!e.code && !sink_idle(p.sink))
		pump_all(&p, SINK_EMPTY, &e);
	check_str("all are sent", e.msg, "");
	check_int("rows stored", (int64_t)p.server[0].nstored, SHAPES);
	check_int("rows told", tally_rows(&sink_done(p.sink, 0)->rows), SHAPES);
	check_int("of one partition", (int64_t)sink_done(p.sink, 0)->rows.n, 1);
	check_int("which was written", sink_wrote(p.sink, 0, 0), true);
	check_int("none waits", (int64_t)p.sink->waiting, 0);
	finish(&p);
}

/* The stream with most rows is about the fullest, among any number. */
static void test_fullest(void)
{
	struct pass_over p = { .lanes = 1, .tables = 3000, .rows = 3000 };
	struct err e = { 0 };

	prepare(&p, 1, NULL);
	sink_begin(p.sink, false, false);
	for (size_t i = 0; i < p.rows; i++)
		put(&p, i, &e);
	for (size_t i = 0; i < 10; i++)
		put(&p, 1234, &e);
	check_str("the fullest", level_fullest(p.sink, 0)->table, "t1234");
	check_int("streams with rows", (int64_t)p.sink->waiting, 3000);
	check_int("memory for them", p.sink->pool.used <= sink_room(p.sink), true);
	check_int("one of another lane", level_fullest(p.sink, 1) != NULL, false);
	sink_swallow(p.sink);
	check_int("none is left", level_fullest(p.sink, 0) != NULL, false);
	finish(&p);
}

/* Rows for one staging table wait together, but in a careful pass, where each COPY is of one
 * partition. */
static void test_join(void)
{
	struct pass_over p = { .lanes = 2, .tables = 4, .rows = 40 };
	struct err e = { 0 };

	prepare(&p, 1, NULL);
	for (size_t i = 0; i < p.tables; i++) {
		sink_stage(stream_of(&p, i), i, 1);
		sink_join(stream_of(&p, i));
	}
	sink_begin(p.sink, false, false);
	for (size_t i = 0; i < p.rows; i++)
		put(&p, i, &e);
	check_int("one queue for each lane", (int64_t)p.sink->waiting, 2);
	check_str("the first one's", level_fullest(p.sink, 1)->table, "t1");
	check_int("its partition is written", sink_wrote(p.sink, 0, 3 * 3600), true);
	sink_begin(p.sink, true, false);
	for (size_t i = 0; i < p.rows; i++)
		put(&p, i, &e);
	check_int("each for itself", (int64_t)p.sink->waiting, 4);
	sink_forget(p.sink);
	check_int("all are forgotten", (int64_t)p.sink->nstream, 0);
	finish(&p);
}

/* ---- memory */

static void test_bound(void)
{
	struct pass_over p = { .lanes = 1, .tables = 200, .rows = 60000, .note = 1000 };
	struct err e = { 0 };

	prepare(&p, 1, NULL);
	run(&p, false, &e);
	check_str("a large batch", e.code ? e.msg : disorder(&p), "");
	check_int("it fills the pool", p.peak > POOL_BYTES - BLOCK_BYTES, true);
	check_int("but no more", p.peak <= POOL_BYTES + BLOCK_BYTES, true);
	check_int("nothing is left in it", (int64_t)p.sink->pool.used, 0);
	check_int("few statements", p.server[0].statements < 400, true);
	finish(&p);
}

/* ---- events at fault */

static bool was_told(const struct pass_over *p, size_t i)
{
	size_t n = 0;

	for (size_t k = 0; k < p->ntold; k++)
		n += p->told[k] == (int64_t)i;
	return n == 1;
}

static void test_careful(void)
{
	static const char *const lines[] = { [LINE_TOLD] = "line told", [LINE_UNTOLD] =
		"line untold", [LINE_WRONG] = "line wrong", [LINE_CERTAIN] = "line certain" };

	for (int how = LINE_TOLD; how <= LINE_CERTAIN; how++)
		for (size_t each = 1; each < 100; each += 1 + each) {
			struct pass_over p = { .lanes = 2, .tables = 5, .rows = 500, .note = 200,
				.bad_each = each };
			struct err e = { 0 };
			size_t told = 0, bad = 0;
			prepare(&p, (uint32_t)each, NULL);
			p.server[0].lines = p.server[1].lines = how;
			run(&p, true, &e);
			for (size_t i = 0; i < p.rows; i++) {
				bad += is_each(i, each);
				told += is_each(i, each) && was_told(&p, i);
			}
			check_str(lines[how], e.code ? e.msg : disorder(&p), "");
			check_int("each that is bad was told once", (int64_t)told, (int64_t)bad);
			check_int("no other was", (int64_t)p.ntold, (int64_t)bad);
			finish(&p);
		}
}

/* ---- rows that are suspect, in a pass without care */

static size_t count_bad(const struct pass_over *p)
{
	size_t n = 0;

	for (size_t i = 0; i < p->rows; i++)
		n += is_bad(p, i);
	return n;
}

/* Each bad one is told once, no other is, and the good ones are stored. */
static void check_suspects(const char *what, struct pass_over *p)
{
	struct err e = { 0 };
	size_t told = 0;

	run(p, false, &e);
	for (size_t i = 0; i < p->rows; i++)
		told += is_bad(p, i) && was_told(p, i);
	check_str(what, e.code ? e.msg : loss(p), "");
	check_int("each that is bad was told once", (int64_t)told, (int64_t)count_bad(p));
	check_int("no other was", (int64_t)p->ntold, (int64_t)count_bad(p));
	check_int("rows told", tally_rows(&sink_done(p->sink, 0)->rows),
		(int64_t)(p->rows - count_bad(p)));
	check_int("none is held", (int64_t)p->sink->held, 0);
}

static void test_suspects(void)
{
	static const struct { const char *name; struct pass_over p; } cases[] = {
		{ "the first row is bad", { .lanes = 1, .tables = 1, .rows = 3000, .bad_at = 1 } },
		{ "one in the middle", { .lanes = 1, .tables = 3, .rows = 3000, .bad_at = 1500 } },
		{ "the last one", { .lanes = 2, .tables = 3, .rows = 3000, .bad_at = 3000 } },
		{ "the only one", { .lanes = 1, .tables = 1, .rows = 1, .bad_at = 1 } },
		{ "one in a thousand", { .lanes = 2, .tables = TABLES, .rows = 60000, .note = 100,
			.bad_each = 1000, .suspect_each = 1000 } },
		{ "every second suspect", { .lanes = 2, .tables = TABLES, .rows = 20000,
			.note = 300, .bad_each = 200, .suspect_each = 100 } },
		{ "in many tables", { .lanes = 2, .tables = 3000, .rows = 90000, .bad_each = 2000,
			.suspect_each = 2000 } },
		{ "all of a few", { .lanes = 1, .tables = 2, .rows = 300, .bad_each = 1,
			.suspect_each = 1 } },
		{ "large ones", { .lanes = 2, .tables = 3, .rows = 20000, .note = NOTE_MAX,
			.bad_each = 100, .suspect_each = 50 } },
	};

	for (size_t i = 0; i < COUNT(cases); i++)
		for (int how = LINE_TOLD; how <= LINE_CERTAIN; how++) {
			struct pass_over p = cases[i].p;
			prepare(&p, 1 + (uint32_t)how, &all_typed);
			p.server[0].lines = p.server[1].lines = how;
			check_suspects(cases[i].name, &p);
			check_int("the next pass", sink_idle(p.sink), true);
			for (size_t k = 0; k < LANES; k++)
				p.server[k].nstored = 0;
			check_suspects(cases[i].name, &p);
			finish(&p);
		}
}

/* In an ordered pass, or where they have none of the trust, they go as text among the others. */
static void test_no_suspects(void)
{
	struct pass_over p = { .lanes = 1, .tables = 3, .rows = 50000, .suspect_each = 2 };
	struct err e = { 0 };

	prepare(&p, 1, &all_typed);
	run(&p, false, &e);
	check_str("every second is suspect", e.code ? e.msg : loss(&p), "");
	int few = p.server[0].statements;
	server_reset(&p.server[0], 1);
	run(&p, false, &e);
	check_str("again", e.code ? e.msg : disorder(&p), "");
	check_int("none was held", (int64_t)p.held, 0);
	check_int("few statements", few < p.server[0].statements + 60, true);
	finish(&p);

	p = (struct pass_over){ .lanes = 1, .tables = 1, .rows = 500, .bad_at = 250,
		.ordered = true };
	prepare(&p, 1, &all_typed);
	check_int("the order counts", run(&p, false, &e), ERR_DATA);
	check_int("the event is not known", (int64_t)p.ntold, 0);
	finish(&p);
}

/* They wait in little memory, however many there are, and their statements are few. */
static void test_suspects_held(void)
{
	struct pass_over p = { .lanes = 2, .tables = 40, .rows = 120000, .note = 1000,
		.suspect_each = 30 };

	prepare(&p, 1, &all_typed);
	check_suspects("many are good", &p);
	check_int("some were held", p.held > HELD_BYTES / 2, true);
	check_int("not too many", p.held <= HELD_BYTES * 3 / 2, true);
	check_int("nor more than the pool", p.peak <= POOL_BYTES + BLOCK_BYTES, true);
	check_int("few statements", p.server[0].statements + p.server[1].statements < 1500, true);
	finish(&p);
}

/* Without care the error is no event's; what failed is told. */
static void test_careless(void)
{
	struct pass_over p = { .lanes = 1, .tables = 1, .rows = 100, .bad_each = 50 };
	struct sink_fault fault = { 0 };
	struct err e = { 0 };

	prepare(&p, 1, NULL);
	sink_begin(p.sink, false, false);
	for (size_t i = 0; i < p.rows; i++)
		put(&p, i, &e);
	while (lane_pump(p.sink, 0, &p.server[0], SINK_EMPTY, &fault, &e) > 0)
		;
	check_int("code", e.code, ERR_DATA);
	check_int("event", fault.event, -1);
	check_str("table", fault.table, "t0");
	check_str("column", fault.column, "note");
	check_str("value", fault.value, "bad\\x0avalue");
	finish(&p);
}

static void test_shape(void)
{
	for (int careful = 0; careful <= 1; careful++) {
		struct pass_over p = { .lanes = 1, .tables = 3, .rows = 300 };
		struct sink_fault fault = { 0 };
		struct err e = { 0 };
		prepare(&p, 1, NULL);
		p.server[0].shapeless = "t2";
		sink_begin(p.sink, careful, false);
		for (size_t i = 0; i < p.rows; i++)
			put(&p, i, &e);
		while (lane_pump(p.sink, 0, &p.server[0], SINK_EMPTY, &fault, &e) > 0)
			;
		check_int("a COPY that is refused", e.code, ERR_SHAPE);
		check_str("its table", fault.table, "t2");
		check_int("the first event of its rows", fault.event, careful ? 2 : -1);
		finish(&p);
	}
}

/* ---- the connection is lost at each call in turn, and the same rows are sent again */

static void test_lost(bool careful)
{
	static const struct sink_types types = { .look = look, .kinds = kinds_of };
	struct pass_over p = { .lanes = 2, .tables = 7, .rows = careful ? 2000 : 5000, .note = 300,
		.bad_each = careful ? 500 : 1000, .suspect_each = 100 };
	int points = 0, wrong = 0;
	struct err e = { 0 };

	for (bool survived = false; !survived; points++) {
		e = (struct err){ 0 };
		prepare(&p, 7, careful ? &types : &all_typed);
		p.server[points % 2].fails = points / 2 + 1;
		survived = run(&p, careful, &e) == 0 && p.server[0].calls < points / 2 &&
			p.server[1].calls < points / 2;
		wrong += e.code != ERR_CONN && e.code != 0;
		for (size_t i = 0; i < LANES; i++)
			server_reset(&p.server[i], 7);
		e = (struct err){ 0 };
		run(&p, careful, &e);
		wrong += e.code || *(careful ? disorder(&p) : loss(&p));
	}
	check_int(careful ? "a careful pass after a loss" : "a pass after a loss", wrong, 0);
	check_int("there were many calls", points > 60, true);
	finish(&p);
}

/* ---- the other ends of a pump */

static void test_free(void)
{
	struct pass_over p = { .lanes = 1, .tables = 2, .rows = 1000, .note = 1000 };
	struct sink_fault fault;
	struct err e = { 0 };
	int rc;

	prepare(&p, 1, NULL);
	sink_begin(p.sink, false, false);
	for (size_t i = 0; i < p.rows; i++)
		put(&p, i, &e);
	check_int("a COPY is open", lane_pump(p.sink, 0, &p.server[0], SINK_FULL, &fault, &e), 1);
	while ((rc = lane_pump(p.sink, 0, &p.server[0], SINK_FREE, &fault, &e)) > 0)
		;
	check_int("it was ended", rc, 0);
	check_int("the connection is free", p.server[0].state, IDLE);
	check_int("rows are left", sink_idle(p.sink), false);
	check_int("rows were written",
		sink_wrote(p.sink, 0, 0) || sink_wrote(p.sink, 0, 3600), true);
	pump_all(&p, SINK_EMPTY, &e);
	while (!sink_idle(p.sink))
		pump_all(&p, SINK_EMPTY, &e);
	check_str("then they go too", e.code ? e.msg : disorder(&p), "");
	finish(&p);
}

static void test_swallow(void)
{
	struct pass_over p = { .lanes = 1, .tables = 3, .rows = 1000 };
	struct err e = { 0 };

	prepare(&p, 1, NULL);
	sink_begin(p.sink, false, false);
	for (size_t i = 0; i < p.rows; i++)
		put(&p, i, &e);
	sink_swallow(p.sink);
	check_int("idle", sink_idle(p.sink), true);
	check_int("rows counted", tally_rows(&sink_done(p.sink, 0)->rows), 1000);
	check_int("no COPY", sink_begun(p.sink), false);
	sink_begin(p.sink, false, false);
	check_int("counted anew", tally_rows(&sink_done(p.sink, 0)->rows), 0);
	finish(&p);
}

/* An event that cannot be decoded leaves nothing behind. */
static void test_undecodable(void)
{
	struct pass_over p = { .lanes = 1, .tables = 1, .rows = 1 };
	struct span values[] = { TEXT("1"), TEXT("x%zz") };
	struct event ev = { .id = 9, .data = values[1] };
	struct err e = { 0 };

	prepare(&p, 1, NULL);
	sink_begin(p.sink, false, false);
	check_int("bad escape", stream_put(p.sink, stream_of(&p, 0), &shape, FORMAT_URLENC,
		values, &ev, &e),
		ERR_DATA);
	check_int("idle", sink_idle(p.sink), true);
	finish(&p);
}

int main(void)
{
	memset(filler, 'x', sizeof filler);
	test_order();
	test_shapes();
	test_fullest();
	test_join();
	test_bound();
	test_careful();
	test_suspects();
	test_no_suspects();
	test_suspects_held();
	test_careless();
	test_shape();
	test_lost(false);
	test_lost(true);
	test_free();
	test_swallow();
	test_undecodable();
	check_int("types were looked for", looked > 0, true);
	return unit_end();
}

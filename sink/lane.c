/*
 * A lane: a connection to the target, on which one COPY at a time sends the waiting rows.
 *
 * Many small COPY commands are expensive for the target. So the COPY goes to the stream with the
 * most waiting bytes, stays while that stream has rows, and moves only to one with enough of them,
 * or when memory runs short, or when no more rows will come. Suspect rows are sent last, by careful
 * COPYs: one that fails takes away no row of another.
 *
 * Nor are COPYs of some hundred rows cheap. The server holds the first 1,000 rows of one in slots,
 * and for each it searches through all slots before (of a resource owner, which has the table's
 * descriptor once for each of them). So a COPY costs it some 40 us and 1.2 ms x (rows / 1,000)^2,
 * but never more than that for 1,000: for a row that is the most at 1,000 rows, the least at about
 * 180, and as little again from 3,000 on. In a batch that is not long, a COPY that is not to be
 * long ends early while others wait; in a long one that would cost us more than the server saves.
 */
#include "private.h"

#define SLICE_BYTES (48 * 1024)         /* passed to libpq at a time; up to a block more */
#define PLAN_MAX 64                     /* COPYs in one statement */
#define FIRST_BYTES (16 * 1024)         /* as SWITCH_BYTES, while little has been sent */
#define YOUNG_BYTES (4 * 1024 * 1024)   /* sent in a turn, which is long then */
#define PIECE_ROWS 128                  /* of a COPY, which ends then while other streams wait, */
#define LONG_ROWS 2000                  /* unless it is to have that many */

/* ---- when to begin a COPY, and when to end it */

/* Does memory run short? Where rows wait in many streams, each COPY has few of them as it is. */
static bool is_short(const struct sink *s)
{
	size_t room = sink_room(s);

	return s->pool.used >= (s->waiting > MANY ? room - room / 8 : room / 2) ||
		s->waiting >= WAITING_MAX / 2;
}

/* How many bytes in a stream are worth a COPY before memory runs short: at first few, so that the
 * target works while the source is read, then as many as each stream has sent: so they grow to
 * SWITCH_BYTES, and such COPYs are not many. A careful COPY takes a block anyway. */
static size_t worth(const struct sink *s)
{
	size_t share = (size_t)s->bytes / (s->waiting + 1);

	if (s->careful || share > SWITCH_BYTES)
		return SWITCH_BYTES;
	return share > FIRST_BYTES ? share : FIRST_BYTES;
}

/* The stream that a COPY should move to. NULL: it is better to wait for more rows. */
static struct stream *worthwhile(struct sink *s, size_t lane, bool drain)
{
	struct stream *st = level_fullest(s, lane), *suspects = s->lane[lane].suspects.first;
	bool enough = drain || is_short(s);

	if (suspects && s->held_long)
		return suspects;
	if (st && (enough || st->bytes >= worth(s)))
		return st;
	return drain ? suspects : NULL;
}

static bool block_is_sent(const struct lane *l)
{
	return !l->out || l->out_at == l->out->len;
}

/* Do rows wait that are in the format of the open COPY? */
static bool has_more(const struct stream *st)
{
	return st->first && st->first->binary == st->binary;
}

/* Has the table's first COPY taken enough? The next one may be binary. */
static bool is_first_and_long(const struct sink *s, const struct lane *l)
{
	return s->types.look && l->sent >= SWITCH_BYTES && l->current->settled != s->turn &&
		!sink_typed(s, l->current);
}

/* Has the COPY enough rows, while others wait? */
static bool is_piece(const struct sink *s, const struct lane *l)
{
	const struct stream *st = l->current;

	return s->bytes < YOUNG_BYTES && l->nrows >= PIECE_ROWS &&
		l->nrows + st->nrows < LONG_ROWS && s->waiting > (st->first != NULL);
}

/* Is it time to end the open COPY? Only between blocks, so that no row is cut. stopped: the server
 * takes no more rows. */
static bool should_end(struct sink *s, const struct lane *l, enum sink_until until, bool stopped)
{
	if (!block_is_sent(l))
		return false;
	if (stopped || (sink_careful(s, l->current) && l->out) || is_first_and_long(s, l) ||
	    is_piece(s, l))
		return true;
	if (until == SINK_FREE && l->sent)      /* an empty binary COPY would lack its header */
		return true;
	bool held = l->sent && s->held_long && l->suspects.first;
	if (has_more(l->current) && !held)
		return false;
	return held || until != SINK_FULL || l->plan || worthwhile(s, l->current->lane, false);
}

/* ---- one COPY after the other */

static void add_copy(struct buf *sql, struct sink *s, struct stream *st)
{
	struct sink_part *part = st->whole;

	st->binary = st->first->binary;
	if (part->wrote != s->turn)
		part->sent = 0;
	part->wrote = s->turn;
	stream_add_copy(sql, st);
	buf_str(sql, st->binary ? " (FORMAT binary)" : "");
}

/* Sets the savepoint that lets the rows of a careful COPY survive the failure of the next. It is a
 * statement of its own, since the one with the COPY may fail to parse. */
static int set_savepoint(const struct sink *s, struct lane *l, struct pq *dst, struct err *e)
{
	if (!sink_careful(s, l->current) || l->saved == s->turn)
		return 0;
	l->saved = s->turn;
	return pq_query(dst, LANE_SAVE, e);
}

/* Plans COPYs to other streams of the current one's lane that have at least that many bytes, and
 * appends them to its statement: the server goes from one to the next by itself, which saves round
 * trips. Returns how many COPYs the statement has then. */
static int plan_more(struct buf *sql, struct sink *s, struct lane *l, size_t least)
{
	struct stream **last = &l->plan, *list[PLAN_MAX];
	size_t n = level_list(s, l->current->lane, least, list, PLAN_MAX);
	int copies = 1;

	for (size_t i = 0; i < n && copies < PLAN_MAX; i++) {
		struct stream *st = list[i];
		if (st == l->current || (st->staged && st->looked != s->turn))
			continue;
		buf_str(sql, "; ");
		add_copy(sql, s, st);
		st->then = NULL;
		*last = st;
		last = &st->then;
		copies++;
	}
	return copies;
}

/* After a COPY that failed, before other statements. */
static int undo(struct lane *l, struct pq *dst, struct err *e)
{
	bool failed = l->failed;

	l->failed = false;
	return failed ? pq_query(dst, LANE_UNDO, e) : 0;
}

/* Makes the stream's staging table if it is not there. From then on its column types are known. */
static int make_stage(struct sink *s, struct lane *l, struct pq *dst, struct err *e)
{
	struct stream *at = l->current;
	bool made = false;

	if (!at->staged || at->looked == s->turn)
		return 0;
	if (undo(l, dst, e) < 0 ||
	    s->types.stage(s->types.arg, dst, at->lane, at->of, at->table, &made, e) < 0)
		return e->code;
	if (made)
		l->saved = 0;           /* no rollback to a savepoint takes it away again */
	for (size_t i = 0; i < s->nstream; i++) {
		struct stream *st = s->stream[i];
		if (st->staged && st->lane == at->lane && st->of == at->of)
			st->looked = s->turn;
	}
	s->known++;
	return 0;
}

/* Appends what the open savepoint needs before a COPY: that the failed one is rolled back, and that
 * no rows come after it which a rollback must not take away. */
static void settle_savepoint(struct buf *sql, const struct sink *s, struct lane *l)
{
	buf_str(sql, l->failed ? LANE_UNDO "; " : "");
	l->failed = false;
	if (sink_careful(s, l->current) || l->saved != s->turn)
		return;
	buf_str(sql, LANE_RELEASE "; ");
	l->saved = 0;
}

/* Begins a COPY to the current stream. drain: no more rows will come. */
static int begin_copy(struct sink *s, struct lane *l, struct pq *dst, bool drain, struct err *e)
{
	struct buf sql = { 0 };
	size_t half = l->current->bytes / 2 + 1, least = half < SWITCH_BYTES ? half : SWITCH_BYTES;
	bool careful = sink_careful(s, l->current);
	int copies = 1;

	if (make_stage(s, l, dst, e) < 0)
		return e->code;
	settle_savepoint(&sql, s, l);
	if (careful)
		fault_shorten(s, l);
	add_copy(&sql, s, l->current);
	if (careful)
		buf_str(&sql, "; " LANE_RELEASE "; " LANE_SAVE);
	else
		copies = plan_more(&sql, s, l, drain ? 1 : least);
	s->begun = true;
	l->sent = l->nrows = 0;
	if (set_savepoint(s, l, dst, e) == 0)
		pq_copy_in(dst, buf_cstr(&sql), copies, e);
	buf_free(&sql);
	return e->code;
}

/* The COPY is over: its last block is dropped, and the next stream of the plan is current. */
static void end_copy(struct sink *s, struct lane *l)
{
	block_drop(&s->pool, l->out);
	l->out = NULL;
	l->sent = l->nrows = 0;
	l->current = l->plan;
	if (l->plan)
		l->plan = l->plan->then;
}

void lane_drop(struct sink *s, struct lane *l)
{
	l->plan = NULL;
	l->faulty = 0;
	l->failed = false;
	l->run = 0;
	end_copy(s, l);
}

/* The binary format has a header before the first row. */
static int send_header(const struct lane *l, struct pq *dst, struct err *e)
{
	if (l->sent || !l->current->binary)
		return 0;
	return pq_copy_put(dst, BINARY_HEADER, sizeof BINARY_HEADER, e);
}

/* Sends the rest of the block, or the next block, up to SLICE_BYTES. */
static int send_some(struct sink *s, struct lane *l, struct pq *dst, struct err *e)
{
	if (block_is_sent(l)) {
		block_drop(&s->pool, l->out);
		l->out = stream_take(s, l->current);
		l->out_at = 0;
		l->nrows += l->out->nrows;
	}
	if (send_header(l, dst, e) < 0)
		return e->code;
	size_t n = l->out->len - l->out_at;
	if (n > SLICE_BYTES)
		n = SLICE_BYTES;
	l->out_at += n;
	l->sent += n;
	s->bytes += (int64_t)n;
	if (pq_copy_put(dst, l->out->data + l->out_at - n, n, e) < 0)
		return e->code;
	if (block_is_sent(l) && !sink_careful(s, l->current)) {        /* libpq has copied it */
		block_drop(&s->pool, l->out);
		l->out = NULL;
	}
	return 0;
}

/* Has the open COPY nothing to send before more rows come? */
static bool is_dry(const struct lane *l)
{
	return block_is_sent(l) && !has_more(l->current);
}

/* Sends SLICE_BYTES, in one message to the kernel where these are less than 64 KB (deps/build.sh).
 * After each small block, to wake the server would cost more than the block's rows. */
static int send_slice(struct sink *s, struct lane *l, struct pq *dst, enum sink_until until,
	struct err *e)
{
	size_t from = l->sent;

	do
		if (send_some(s, l, dst, e) < 0)
			return e->code;
	while (l->sent - from < SLICE_BYTES && !is_dry(l) && !should_end(s, l, until, false));
	return 0;
}

void lane_count(struct sink *s, const struct stream *st, int64_t stored, int64_t unstored)
{
	st->whole->stored += stored;
	st->whole->unstored += unstored;
	st->whole->counted = s->done[st->of].behind = true;
}

void lane_ended(struct sink *s, struct stream *st)
{
	st->next = s->lane[st->lane].ended;
	s->lane[st->lane].ended = st;
}

/* A COPY is over: counts its rows. stored: by the target; a trigger may have left rows out. A
 * partition that got much may get more: its types are worth a query. */
static void finish_copy(struct sink *s, struct lane *l, int64_t stored)
{
	struct stream *st = l->current;
	int64_t left_out = (int64_t)l->nrows - stored;

	if (!st->staged)
		lane_count(s, st, stored, left_out > 0 ? left_out : 0);
	if (st->suspect)
		return;
	st->whole->sent += l->sent;
	if (st->whole->sent < LOOK_BYTES || st->settled == s->turn)
		return;
	st->settled = s->turn;
	if (st->looked != s->turn && !st->staged && !sink_typed(s, st))
		lane_ended(s, st);
}

/* Are the rows that wait for the open COPY too few to wake the server for them? */
static bool is_little(struct sink *s, const struct lane *l, enum sink_until until)
{
	const struct stream *st = l->current;

	return until == SINK_FULL && block_is_sent(l) && !l->plan && !sink_careful(s, st) &&
		st->bytes < worth(s) / 2 && !worthwhile(s, st->lane, false);
}

/* Makes one move of the open COPY. 1: call it again; 0: it waits for the server or for rows. */
static int advance(struct sink *s, struct lane *l, struct pq *dst, enum sink_until until,
	struct err *e)
{
	bool stopped;
	int step = pq_copy_step(dst, &stopped, e);

	if (step == PQ_END) {
		finish_copy(s, l, pq_copied(dst));
		end_copy(s, l);
	}
	if (step != PQ_READY)
		return step == PQ_END ? 1 : step;
	if (!should_end(s, l, until, stopped)) {
		if (is_dry(l) || is_little(s, l, until))
			return 0;
		if (send_slice(s, l, dst, until, e) < 0)
			return e->code;
		/* the last rows and the end go in one packet */
		if (!should_end(s, l, until, false))
			return 1;
	}
	return pq_copy_end(dst, e) < 0 ? e->code : 1;
}

/* When no more rows will come, a single look tells the next turn what most tables have. */
static bool may_look(const struct sink *s, enum sink_until until)
{
	bool looked = s->known > s->known_before + 1;

	return s->types.look && !s->careful &&
		(until == SINK_FULL || (until == SINK_EMPTY && !looked));
}

/* Looks up the column types of tables to which a COPY has ended in this turn: our lock freezes
 * their columns until the transaction ends. */
static int look_at_types(struct sink *s, size_t lane, struct pq *dst, enum sink_until until,
	struct err *e)
{
	struct lane *l = &s->lane[lane];

	while (l->ended && !l->failed && may_look(s, until) && !e->code) {
		struct stream *st = l->ended;
		l->ended = st->next;
		st->looked = s->turn;
		s->known++;
		s->types.look(s->types.arg, dst, st->of, st->start_s, st->table, e);
	}
	return e->code;
}

/* Begins the next COPY. 1, or 0 when none is worth it. */
static int go_on(struct sink *s, size_t lane, struct pq *dst, enum sink_until until,
	struct err *e)
{
	struct lane *l = &s->lane[lane];

	if (look_at_types(s, lane, dst, until, e) < 0)
		return e->code;
	if (until == SINK_FREE || until == SINK_PLANNED) {
		l->saved = 0;           /* the next COPY sets one after what the caller does now */
		return undo(l, dst, e);
	}
	l->current = worthwhile(s, lane, until == SINK_EMPTY);
	if (!l->current)
		return undo(l, dst, e);
	return begin_copy(s, l, dst, until == SINK_EMPTY, e) < 0 ? e->code : 1;
}

int lane_pump(struct sink *s, size_t lane, struct pq *dst, enum sink_until until,
	struct sink_fault *fault, struct err *e)
{
	struct lane *l = &s->lane[lane];

	if (l->faulty)
		fault_leave_out(s, l);
	for (;;) {
		if (!l->current) {
			int begun = go_on(s, lane, dst, until, e);
			if (begun <= 0)
				return begun;
		}
		int moved = advance(s, l, dst, until, e);
		if (moved == 0)
			return 1;
		if (moved > 0)
			continue;
		if (fault_judge(s, l, dst, fault, e) < 0)
			return e->code;
	}
}

/* Tests of judge.c: every order of the batch's ticks and the target's positions, and what
 * follows. */
#include "../../base/buf.c"
#include "../../pg/judge.c"
#include "unit.h"

#define NONE 0                          /* the target knows no tick */

/* "load 01": lanes 0 and 1 load; "move 5", "single 5": the tick. */
static void verdict_text(const struct verdict *v, size_t n, char *text, size_t size)
{
	static const char *const kind[] = {
		[VERDICT_LOAD] = "load", [VERDICT_IS_IN] = "is in", [VERDICT_MOVE] = "move",
		[VERDICT_SINGLE] = "single", [VERDICT_LOST] = "lost", [VERDICT_OTHER] = "other",
		[VERDICT_LEFT] = "left",
		[VERDICT_CHANGED] = "changed",
	};
	int at = snprintf(text, size, "%s%s", kind[v->kind], v->ahead && v->kind == VERDICT_LOAD ?
		" ahead" : "");

	if (v->kind == VERDICT_MOVE || v->kind == VERDICT_SINGLE)
		snprintf(text + at, size - (size_t)at, " %" PRId64, v->tick);
	if (v->kind == VERDICT_LOAD)
		text[at++] = ' ';
	for (size_t i = 0; i < n && v->kind == VERDICT_LOAD; i++) {
		if (v->loads[i])
			text[at++] = (char)('0' + i);
		text[at] = 0;
	}
}

static struct position at(int64_t tick, int64_t from)
{
	return (struct position){ .known = tick != NONE, .tick = tick, .from = from, .lanes = 1 };
}

/* A batch from tick 10 to `end`, 0: the queue is empty. */
static const struct {
	const char *name, *wanted;
	int64_t end, newest, lane0, lane1, from, lane2;         /* lane1 -1: there is one lane */
	bool unmerged, single;
} cases[] = {
	{ "no position", "load 0", 20, 0, NONE, -1, 0, 0, false, false },
	{ "at the beginning", "load 0", 20, 0, 10, -1, 0, 0, false, false },
	{ "at the end", "is in", 20, 0, 20, -1, 0, 0, false, false },
	{ "inside", "move 15", 20, 0, 15, -1, 0, 0, false, false },
	{ "inside, nothing is merged", "lost", 20, 0, 15, -1, 0, 0, true, false },
	{ "before", "lost", 20, 0, 9, -1, 0, 0, false, false },
	{ "behind", "lost", 20, 0, 21, -1, 0, 0, false, false },
	{ "behind the newest", "lost", 20, 20, 21, -1, 0, 0, false, false },
	{ "one tick of many, at the beginning", "load 0", 11, 30, 10, -1, 0, 0, true, false },
	{ "one tick of many, later", "lost", 11, 30, 12, -1, 0, 0, true, false },

	{ "empty queue, at its end", "load 0", 0, 10, 10, -1, 0, 0, false, false },
	{ "empty queue, before", "lost", 0, 10, 9, -1, 0, 0, false, false },
	{ "empty queue, ahead", "lost", 0, 10, 11, -1, 0, 0, false, false },
	{ "not asked, at the end of the next", "load ", 0, 11, 11, -1, 0, 0, false, false },
	{ "not asked, nothing is merged", "load ", 0, 20, 15, -1, 0, 0, true, false },
	{ "not asked, ahead", "lost", 0, 20, 21, -1, 0, 0, false, false },

	{ "all lanes at the beginning", "load 012", 20, 0, 10, 10, 5, 10, false, false },
	{ "lane 1 has the batch", "load ahead 02", 20, 0, 10, 20, 10, 10, false, false },
	{ "both have it", "load ahead 0", 20, 0, 10, 20, 10, 20, false, false },
	{ "lane 1 has a longer one", "load ahead 02", 20, 0, 10, 25, 10, 10, false, false },
	{ "that began before", "load ahead 02", 20, 0, 10, 25, 8, 10, false, false },
	{ "that began later", "lost", 20, 0, 10, 25, 12, 10, false, false },
	{ "lane 1 has the beginning", "single 15", 20, 0, 10, 15, 10, 10, false, false },
	{ "both have another part", "single 17", 20, 0, 10, 15, 10, 17, false, false },
	{ "tick by tick, but the tick is not met", "lost", 20, 0, 10, 15, 10, 10, false, true },
	{ "tick by tick, met", "load ahead 02", 11, 0, 10, 11, 10, 10, false, true },
	{ "tick by tick, under way", "load ahead 02", 11, 0, 10, 15, 10, 10, false, true },
	{ "lane 1 is behind", "left", 20, 0, 10, 9, 5, 10, false, false },
	{ "lane 1 has none", "lost", 20, 0, 10, NONE, 0, 10, false, false },
	{ "lane 2 is behind", "left", 20, 0, 10, 20, 10, 9, false, false },
	{ "lane 1 is ahead of the queue", "lost", 20, 20, 10, 21, 10, 10, false, false },
	{ "lane 0 is at the end, whatever lane 1", "is in", 20, 0, 20, 20, 10, 30, false, false },
	{ "empty queue, all lanes at its end", "load 012", 0, 10, 10, 10, 5, 10, false, false },
	{ "not asked, lane 1 is ahead", "load ahead 02", 0, 20, 10, 15, 10, 10, false, false },
	{ "empty queue, lane 1 is ahead", "lost", 0, 10, 10, 15, 10, 10, false, false },
	{ "empty queue, lane 1 is behind", "left", 0, 10, 10, 9, 5, 10, false, false },
	{ "empty queue, all are behind", "lost", 0, 10, 8, 7, 5, 8, false, false },
	{ "lane 0 is at the end, lane 1 behind", "is in", 20, 0, 20, 10, 5, 20, false, false },
};

static void test_table(void)
{
	char name_q[] = "q", name_c[] = "job", text[60];

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct conf conf = { .queue_name = name_q, .consumer_name = name_c,
			.batch_min_events = !cases[i].unmerged };
		struct queue_batch batch = { .id = 7, .prev_tick = 10, .tick = cases[i].end };
		bool lanes = cases[i].lane1 >= 0;
		struct position pos[] = {
			at(cases[i].lane0, 0), at(cases[i].lane1, cases[i].from),
			at(cases[i].lane2, cases[i].from),
		};
		struct judge_case c = { &conf, &batch, cases[i].newest, cases[i].single, pos,
			lanes ? 3 : 1 };
		pos[0].lanes = lanes ? 3 : 1;
		struct verdict v = judge_position(&c);
		verdict_text(&v, c.n, text, sizeof text);
		check_str(cases[i].name, text, cases[i].wanted);
		bool silent = v.kind == VERDICT_LOAD && (!v.ahead || !batch.tick);
		check_int("it has words", *v.words != 0, !silent);
	}
}

/* A batch from tick 10 at 1000 us to 20 at 2000 us, end 0: the queue is empty and its newest tick
 * 30 where it was asked for. The numbers alone would say: it fits. */
static const struct {
	const char *name, *wanted;
	int64_t end, newest;
	struct position lane0, lane1;           /* lane1.known false: there is one lane */
	bool unmerged;
} identities[] = {
#define POS(...) { .known = true, .lanes = 1, __VA_ARGS__ }
#define NO_LANE { .known = false }
	{ "the beginning", "load 0", 20, 0, POS(.tick = 10, .time_us = 1000), NO_LANE, false },
	{ "another beginning", "other", 20, 0, POS(.tick = 10, .time_us = 1001), NO_LANE, false },
	{ "the beginning, by number", "load 0", 20, 0, POS(.tick = 10), NO_LANE, false },
	{ "the end", "is in", 20, 0, POS(.tick = 20, .time_us = 2000), NO_LANE, false },
	{ "another end", "other", 20, 0, POS(.tick = 20, .time_us = 1999), NO_LANE, false },
	{ "the end, by number", "is in", 20, 0, POS(.tick = 20), NO_LANE, false },
	{ "inside", "move 15", 20, 30, POS(.tick = 15, .time_us = 1500, .source_us = 1500), NO_LANE,
		false },
	{ "inside, another one", "other", 20, 30,
		POS(.tick = 15, .time_us = 1500, .source_us = 1400), NO_LANE, false },
	{ "inside, by number", "move 15", 20, 30, POS(.tick = 15, .source_us = 1400), NO_LANE,
		false },
	{ "inside, no such tick", "lost", 20, 30,
		POS(.tick = 15, .time_us = 1500, .source_us = QUEUE_NO_TICK), NO_LANE, false },
	{ "inside, by number, no such tick", "lost", 20, 30,
		POS(.tick = 15, .source_us = QUEUE_NO_TICK), NO_LANE, false },
	{ "nothing is merged, inside", "move 15", 20, 30,
		POS(.tick = 15, .time_us = 1500, .source_us = 1500), NO_LANE, true },
	{ "nothing is merged, by number", "lost", 20, 30, POS(.tick = 15, .source_us = 1500),
		NO_LANE, true },
	{ "before, too old for the queue", "lost", 20, 30, POS(.tick = 5, .time_us = 500), NO_LANE,
		false },
	{ "before", "lost", 20, 30, POS(.tick = 5, .time_us = 500, .source_us = 500), NO_LANE,
		false },
	{ "before, another one", "other", 20, 30, POS(.tick = 5, .time_us = 500, .source_us = 400),
		NO_LANE, false },
	{ "behind", "lost", 20, 30, POS(.tick = 25, .time_us = 2500, .source_us = 2500), NO_LANE,
		false },
	{ "behind, another one", "other", 20, 30,
		POS(.tick = 25, .time_us = 2500, .source_us = 2400), NO_LANE, false },

	{ "empty, at its end", "load 0", 0, 10, POS(.tick = 10, .time_us = 900, .source_us = 900),
		NO_LANE, false },
	{ "empty, another end", "other", 0, 10, POS(.tick = 10, .time_us = 900, .source_us = 800),
		NO_LANE, false },
	{ "empty, ahead", "lost", 0, 10,
		POS(.tick = 11, .time_us = 900, .source_us = QUEUE_NO_TICK), NO_LANE, false },
	{ "not asked, ahead", "load ", 0, 30, POS(.tick = 11, .time_us = 900, .source_us = 900),
		NO_LANE, false },
	{ "not asked, another one ahead", "other", 0, 30,
		POS(.tick = 11, .time_us = 900, .source_us = 901), NO_LANE, false },

	{ "both lanes", "load 01", 20, 0, POS(.tick = 10, .time_us = 1000),
		POS(.tick = 10, .time_us = 1000), false },
	{ "another beginning in lane 1", "other", 20, 0, POS(.tick = 10, .time_us = 1000),
		POS(.tick = 10, .time_us = 1001), false },
	{ "lane 1 has the batch", "load ahead 0", 20, 0, POS(.tick = 10, .time_us = 1000),
		POS(.tick = 20, .time_us = 2000), false },
	{ "lane 1 has another one", "other", 20, 0, POS(.tick = 10, .time_us = 1000),
		POS(.tick = 20, .time_us = 2001), false },
	{ "lane 1 has a part", "single 15", 20, 30, POS(.tick = 10, .time_us = 1000),
		POS(.tick = 15, .time_us = 1500, .source_us = 1500), false },
	{ "lane 1 has a part of another one", "other", 20, 30, POS(.tick = 10, .time_us = 1000),
		POS(.tick = 15, .time_us = 1500, .source_us = 1501), false },
	{ "lane 1 has a part up to a tick that the queue lost", "lost", 20, 30,
		POS(.tick = 10, .time_us = 1000),
		POS(.tick = 15, .time_us = 1500, .source_us = QUEUE_NO_TICK), false },
	{ "the same, by number", "lost", 20, 30, POS(.tick = 10),
		POS(.tick = 15, .source_us = QUEUE_NO_TICK), false },
	{ "lane 0 has the batch, lane 1 another one", "other", 20, 0,
		POS(.tick = 20, .time_us = 2000), POS(.tick = 20, .time_us = 2001), false },
	{ "lane 1 is behind, at a tick that the queue lost", "left", 20, 30, POS(.tick = 10),
		POS(.tick = 7, .time_us = 700, .source_us = QUEUE_NO_TICK), false },
};

static void test_identities(void)
{
	char name_q[] = "q", name_c[] = "job", text[60];

	for (size_t i = 0; i < COUNT(identities); i++) {
		struct conf conf = { .queue_name = name_q, .consumer_name = name_c,
			.batch_min_events = !identities[i].unmerged };
		struct queue_batch batch = { .id = 7, .prev_tick = 10, .tick = identities[i].end };
		struct position pos[] = { identities[i].lane0, identities[i].lane1 };
		struct judge_case c = { &conf, &batch, identities[i].newest, false, pos,
			pos[1].known ? 2 : 1 };
		if (batch.tick) {
			batch.prev_us = 1000;
			batch.tick_us = 2000;
		}
		pos[0].lanes = (int64_t)c.n;
		struct verdict v = judge_position(&c);
		verdict_text(&v, c.n, text, sizeof text);
		check_str(identities[i].name, text, identities[i].wanted);
	}
}

static void test_lanes(void)
{
	static const struct { bool known; int64_t lanes, wanted; } numbers[] = {
		{ false, 3, 1 }, { true, 1, 1 }, { true, 2, 2 }, { true, LANES_MAX, LANES_MAX },
		{ true, LANES_MAX + 1, 1 },
		{ true, 0, 1 }, { true, -1, 1 }, { true, INT64_MAX, 1 },
	};
	char name_q[] = "q", name_c[] = "job";
	struct conf conf = { .queue_name = name_q, .consumer_name = name_c };
	struct queue_batch batch = { .prev_tick = 10, .tick = 20 };

	for (size_t i = 0; i < COUNT(numbers); i++) {
		struct position pos = { .known = numbers[i].known, .tick = 10,
			.lanes = numbers[i].lanes };
		struct judge_case c = { .conf = &conf, .batch = &batch, .pos = &pos, .n = 1 };
		check_int("lanes with a position", (int64_t)judge_lanes(&pos), numbers[i].wanted);
		struct verdict v = judge_position(&c);
		check_int("a number that makes no sense is a lost position", v.stops,
			numbers[i].known && (numbers[i].lanes < 1 || numbers[i].lanes > LANES_MAX));
	}
}

static void test_words(void)
{
	char name_q[] = "q", name_c[] = "job";
	struct conf conf = { .queue_name = name_q, .consumer_name = name_c };
	struct queue_batch batch = { .id = 7, .prev_tick = 10, .tick = 20 };
	struct position pos = at(9, 0);
	struct judge_case c = { .conf = &conf, .batch = &batch, .pos = &pos, .n = 1 };
	struct verdict v = judge_position(&c);

	check_str("lost", v.words, "lost position: queue q is at tick 10, the target of consumer"
		" job at tick 9. Nothing was written. Is dst_db the right target? --rewind sets the"
		" queue to the target's tick, if PgQ still has it; --reset forgets the target's"
		" tick and goes on from the queue's. If another config has this consumer name, do"
		" neither: give one a job_name of its own");
	pos = at(20, 0);
	v = judge_position(&c);
	check_str("is in", v.words, "batch 7 is in the target already");

	batch.prev_us = INT64_C(1769860800123456);
	batch.tick_us = batch.prev_us + 1000000;
	pos = at(20, 0);
	check_int("the end's time is known", judge_needs_times(&c), false);
	pos = at(15, 0);
	check_int("a time inside is not", judge_needs_times(&c), true);
	pos.source_us = 1;
	check_int("but when it was asked for", judge_needs_times(&c), false);
	pos = at(NONE, 0);
	check_int("nowhere", judge_needs_times(&c), false);

	pos = at(10, 0);
	pos.time_us = batch.prev_us + 1;
	v = judge_position(&c);
	check_str("another one", v.words, "lost position: tick 10 of queue q is one of 2026-01-31"
		" 12:00:00.123456 UTC, the target of consumer job has loaded up to one of"
		" 2026-01-31 12:00:00.123457 UTC: the queue was set back or made anew, or it is"
		" another one. Nothing was written. --rewind would set the queue to the wrong"
		" place; --reset forgets the target's tick and goes on from the queue's, 10: look"
		" first which rows would be missing then, or come twice");
}

#define DEST(schema_, table_, field, ...) \
	{ .schema = TEXT(schema_), .table = TEXT(table_), .part_field = field, \
		.period = { __VA_ARGS__ } }

static char day[] = "day", made[] = "made";
static const struct dest orders = DEST("", "orders", day, PERIOD_DAILY, false, 0);

static int64_t rule_of(const struct dest *d, size_t lanes)
{
	struct conf conf = { .dest = *d };

	return judge_rule(&conf, lanes);
}

static struct rule section(char *name, char *dest_table, bool by_name)
{
	return (struct rule){ .section = name, .by_name = by_name, .ignore = !dest_table,
		.dest = { .dest_table = dest_table, .table = span_of(by_name ? NULL : dest_table),
			.part_field = day, .period = { PERIOD_DAILY, false, 0 } } };
}

/* With sections, all of them decide, and their order. */
static void test_sections(void)
{
	char a[] = "public.a", b[] = "public.b", x[] = "x", y[] = "y", words[] = "%(table)s",
		others[] = "log.%(table)s";
	struct rule same[] = { section(a, x, false), section(b, words, true) };
	struct rule changed[][2] = {
		{ section(b, x, false), section(b, words, true) },
		{ section(a, y, false), section(b, words, true) },
		{ section(a, x, false), section(b, others, true) },
		{ section(a, x, false), section(b, NULL, false) },
		{ section(b, words, true), section(a, x, false) },
	};
	struct conf conf = { .rule = same, .nrule = 2 };
	int64_t rule = judge_rule(&conf, 2);

	check_int("the same", judge_rule(&conf, 2), rule);
	conf.dest = orders;
	check_int("the job's own decides nothing", judge_rule(&conf, 2), rule);
	for (size_t i = 0; i < COUNT(changed); i++) {
		conf.rule = changed[i];
		check_int("other sections", judge_rule(&conf, 2) != rule, true);
	}
	conf.rule = same;
	conf.nrule = 1;
	check_int("fewer sections", judge_rule(&conf, 2) != rule, true);
}

/* The number differs when a row's lane may. */
static void test_rule(void)
{
	static const struct dest others[] = {
		DEST("public", "orders", day, PERIOD_DAILY, false, 0),
		DEST("", "others", day, PERIOD_DAILY, false, 0),
		DEST("o", "rders", day, PERIOD_DAILY, false, 0),
		DEST("", "orders", made, PERIOD_DAILY, false, 0),
		DEST("", "orders", day, PERIOD_WEEKLY, false, 0),
		DEST("", "orders", day, PERIOD_DAILY, true, 0),
		DEST("", "orders", day, PERIOD_DAILY, true, 3600),
		DEST("", "orders", NULL, PERIOD_NONE, false, 0),
	};
	struct dest same = orders;

	for (size_t i = 0; i < COUNT(others); i++) {
		check_int("another rule", rule_of(&orders, 2) != rule_of(&others[i], 2),
			true);
		check_int("its version", rule_of(&others[i], 2) >> RULE_BITS, RULE_VERSION);
	}
	check_int("another number of lanes", rule_of(&orders, 2) != rule_of(&orders, 3),
		true);
	same.fields = made;
	check_int("fields route nothing", rule_of(&same, 2), rule_of(&orders, 2));
	same.schema = span_of(NULL);
	check_int("nor does no schema", rule_of(&same, 2), rule_of(&orders, 2));
	/* targets keep it: when it changes, RULE_VERSION must */
	check_int("the number", rule_of(&orders, 2), INT64_C(94037958104365721));
}

/* Lane 1 has the batch, or a part of it, by that rule. */
static void test_changed(void)
{
	char name_q[] = "q", name_c[] = "job", shown[60];
	const struct conf conf = {
		.queue_name = name_q, .consumer_name = name_c, .batch_min_events = 1,
		.dest = orders,
	};
	int64_t rule = rule_of(&orders, 2);
	const struct { int64_t rule, tick, end; const char *wanted; } changes[] = {
		{ rule, 20, 20, "load ahead 0" }, { rule + 1, 20, 20, "changed" },
		{ 0, 20, 20, "load ahead 0" },
		{ rule, 15, 20, "single 15" }, { rule + 1, 15, 20, "changed" },
		{ rule + 1, 10, 20, "load 01" },
		{ rule + (INT64_C(1) << RULE_BITS), 20, 20, "changed" },
		{ rule + 1, 9, 20, "left" },
		/* another process may be loading just now */
		{ rule + 1, 20, 0, "load ahead 0" },
	};

	for (size_t i = 0; i < COUNT(changes); i++) {
		struct queue_batch batch = { .id = 7, .prev_tick = 10, .tick = changes[i].end };
		struct position pos[] = { at(10, 0), at(changes[i].tick, 10) };
		struct judge_case c = { &conf, &batch, 0, false, pos, 2 };
		pos[0].lanes = 2;
		pos[1].rule = changes[i].rule;
		struct verdict v = judge_position(&c);
		verdict_text(&v, 2, shown, sizeof shown);
		check_str("a rule", shown, changes[i].wanted);
		check_int("its version is named", strstr(v.words, "another version") != NULL,
			changes[i].rule > rule + 1);
	}
}

static void test_left(void)
{
	char name_q[] = "q", name_c[] = "job";
	struct conf conf = { .queue_name = name_q, .consumer_name = name_c };
	struct queue_batch batch = { .prev_tick = 8 };
	struct position pos[] = { at(8, 0), at(7, 6) };
	struct judge_case c = { .conf = &conf, .batch = &batch, .newest = 8, .pos = pos, .n = 2 };

	pos[0].lanes = 2;
	check_str("left", judge_position(&c).words, "lost position: lane 1 of the target of"
		" consumer job was left at tick 7 while another program loaded up to tick 8."
		" Nothing was written. If that program has ended its batch: --reset, nothing comes"
		" twice");
}

/* The longest names fit with all that is to be done. */
static void test_long_words(void)
{
	char name[64];
	struct conf conf = { .queue_name = name, .consumer_name = name };
	struct queue_batch batch = { INT64_MAX, INT64_MAX, INT64_MAX - 1, INT64_MAX, INT64_MAX, 0,
		NULL, false };
	struct position pos[2] = {
		{ .known = true, .tick = INT64_MAX - 1, .lanes = 2 },
		{ .known = true, .tick = INT64_MAX - 1, .time_us = INT64_MAX / 2 },
	};
	struct judge_case c = { &conf, &batch, 0, false, pos, 2 };

	memset(name, 'n', sizeof name - 1);
	name[sizeof name - 1] = 0;
	struct verdict v = judge_position(&c);
	check_int("other", v.kind, VERDICT_OTHER);
	check_int("ends as it should", strstr(v.words, "or come twice") != NULL, true);
}

int main(void)
{
	test_table();
	test_identities();
	test_lanes();
	test_words();
	test_rule();
	test_sections();
	test_changed();
	test_left();
	test_long_words();
	return unit_end();
}

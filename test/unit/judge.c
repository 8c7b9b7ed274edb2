/* Tests of judge.c: every order of the batch's ticks and the target's positions, and what follows. */
#include "../../base/buf.c"
#include "../../pg/judge.c"
#include "unit.h"

#define NONE 0                          /* the target knows no tick */

/* "load 01": lanes 0 and 1 load; "move 5", "single 5": the tick. */
static void verdict_text(const struct verdict *v, size_t n, char *text, size_t size)
{
	static const char *const kind[] = {
		[VERDICT_LOAD] = "load", [VERDICT_IS_IN] = "is in", [VERDICT_MOVE] = "move", [VERDICT_SINGLE] = "single",
		[VERDICT_LOST] = "lost",
	};
	int at = snprintf(text, size, "%s%s", kind[v->kind], v->ahead && v->kind == VERDICT_LOAD ? " ahead" : "");

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
	{ "lane 1 is behind", "lost", 20, 0, 10, 9, 5, 10, false, false },
	{ "lane 1 has none", "lost", 20, 0, 10, NONE, 0, 10, false, false },
	{ "lane 2 is behind", "lost", 20, 0, 10, 20, 10, 9, false, false },
	{ "lane 1 is ahead of the queue", "lost", 20, 20, 10, 21, 10, 10, false, false },
	{ "lane 0 is at the end, whatever lane 1", "is in", 20, 0, 20, 20, 10, 30, false, false },
	{ "empty queue, all lanes at its end", "load 012", 0, 10, 10, 10, 5, 10, false, false },
	{ "not asked, lane 1 is ahead", "load ahead 02", 0, 20, 10, 15, 10, 10, false, false },
	{ "empty queue, lane 1 is ahead", "lost", 0, 10, 10, 15, 10, 10, false, false },
	{ "empty queue, lane 1 is behind", "lost", 0, 10, 10, 9, 5, 10, false, false },
};

static void test_table(void)
{
	char name_q[] = "q", name_c[] = "job", text[60];

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct conf conf = { .queue_name = name_q, .consumer_name = name_c, .batch_min_events = !cases[i].unmerged };
		struct queue_batch batch = { .id = 7, .prev_tick = 10, .tick = cases[i].end };
		bool lanes = cases[i].lane1 >= 0;
		struct position pos[] = {
			at(cases[i].lane0, 0), at(cases[i].lane1, cases[i].from), at(cases[i].lane2, cases[i].from),
		};
		struct judge_case c = { &conf, &batch, cases[i].newest, cases[i].single, pos, lanes ? 3 : 1 };
		pos[0].lanes = lanes ? 3 : 1;
		struct verdict v = judge_position(&c);
		verdict_text(&v, c.n, text, sizeof text);
		check_str(cases[i].name, text, cases[i].wanted);
		bool silent = v.kind == VERDICT_LOAD && (!v.ahead || !batch.tick);
		check_int("it has words", *v.words != 0, !silent);
	}
}

static void test_lanes(void)
{
	static const struct { bool known; int64_t lanes, wanted; } numbers[] = {
		{ false, 3, 1 }, { true, 1, 1 }, { true, 2, 2 }, { true, LANES_MAX, LANES_MAX }, { true, LANES_MAX + 1, 1 },
		{ true, 0, 1 }, { true, -1, 1 }, { true, INT64_MAX, 1 },
	};
	char name_q[] = "q", name_c[] = "job";
	struct conf conf = { .queue_name = name_q, .consumer_name = name_c };
	struct queue_batch batch = { .prev_tick = 10, .tick = 20 };

	for (size_t i = 0; i < COUNT(numbers); i++) {
		struct position pos = { .known = numbers[i].known, .tick = 10, .lanes = numbers[i].lanes };
		struct judge_case c = { .conf = &conf, .batch = &batch, .pos = &pos, .n = 1 };
		check_int("lanes with a position", (int64_t)judge_lanes(&pos), numbers[i].wanted);
		struct verdict v = judge_position(&c);
		check_int("a number that makes no sense is a lost position", judge_stops(&v),
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

	check_str("lost", v.words, "lost position: queue q is at tick 10, the target of consumer job at tick 9. Nothing was"
		" written. --rewind sets the queue to the target's tick, if PgQ still has it; --reset forgets the target's tick and"
		" goes on from the queue's");
	pos = at(20, 0);
	v = judge_position(&c);
	check_str("is in", v.words, "batch 7 is in the target already");
	check_int("at an end", judge_is_at_end(&c), true);
	pos = at(15, 0);
	check_int("at no end", judge_is_at_end(&c), false);
	pos = at(NONE, 0);
	check_int("nowhere", judge_is_at_end(&c), true);
}

int main(void)
{
	test_table();
	test_lanes();
	test_words();
	return unit_end();
}

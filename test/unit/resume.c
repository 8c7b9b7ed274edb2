/*
 * Tests of resume.c: what the lanes' marks of a table say, in every order in which a kill can leave
 * them.
 *
 * Linked with: pg/judge.c
 */
#include "../../base/buf.c"
#include "../../pg/resume.c"
#include "unit.h"

/* "load 01 from 10 to 20", "lanes 2 from 10", "done", "lost". */
static void verdict_text(const struct resume_verdict *v, char *text, size_t size)
{
	static const char *const kind[] = {
		[RESUME_LOAD] = "load", [RESUME_LANES] = "lanes", [RESUME_DONE] = "done",
		[RESUME_LOST] = "lost",
	};
	int at = snprintf(text, size, "%s", kind[v->kind]);

	if (v->kind == RESUME_LANES)
		at += snprintf(text + at, size - (size_t)at, " %zu", v->lanes);
	if (v->kind == RESUME_LOAD)
		text[at++] = ' ';
	for (size_t i = 0; i < v->lanes && v->kind == RESUME_LOAD; i++)
		if (v->loads[i])
			text[at++] = (char)('0' + i);
	text[at] = 0;
	if (v->kind == RESUME_LOAD || v->kind == RESUME_LANES)
		snprintf(text + at, size - (size_t)at, " from %s%s%s", v->from, v->to ? " to " : "",
			v->to ? v->to : "");
	if (v->kind == RESUME_DONE && v->rewritten)
		snprintf(text + at, size - (size_t)at, " rewritten");
}

#define OID 500
#define FILENODE 600

/* The table is OID, FILENODE, and the config has two lanes. NULL: the lane has no mark. */
static const struct {
	const char *name, *wanted;
	int64_t oid, filenode, lanes;
	const char *lane0, *lane1;
	const char *where;              /* of the run before; NULL: the same */
	bool by_key;
} cases[] = {
	{ "never begun", "lanes 2 from ", OID, FILENODE, 2, .lane0 = NULL, .lane1 = NULL },
	{ "begun, nothing copied", "load 01 from ", OID, FILENODE, 2, .lane0 = "", .lane1 = "" },
	{ "both at a slice's end", "load 01 from 10", OID, FILENODE, 2,
		.lane0 = "10", .lane1 = "10" },
	{ "lane 1 is ahead", "load 0 from 10 to 20", OID, FILENODE, 2,
		.lane0 = "10", .lane1 = "20" },
	{ "lane 1 is ahead, from the beginning", "load 0 from  to 10", OID, FILENODE, 2,
		.lane0 = "", .lane1 = "10" },
	{ "lane 1 is ahead, to the end", "load 0 from 10 to end", OID, FILENODE, 2,
		.lane0 = "10", .lane1 = "end" },
	{ "both at the end", "done", OID, FILENODE, 2, .lane0 = "end", .lane1 = "end" },
	{ "lane 0 at the end is the table's end", "done", OID, FILENODE, 1,
		.lane0 = "end", .lane1 = NULL },
	{ "another number of lanes", "lanes 2 from 10", OID, FILENODE, 1,
		.lane0 = "10", .lane1 = NULL },
	{ "another number, to be changed after the slice", "load 0 from 10 to 20", OID, FILENODE, 3,
		.lane0 = "10", .lane1 = "20" },
	{ "a lane has no mark", "lost", OID, FILENODE, 2, .lane0 = "10", .lane1 = NULL },
	{ "rewritten", "lost", OID, FILENODE + 1, 2, .lane0 = "10", .lane1 = "10" },
	{ "rewritten before anything was copied", "load 01 from ", OID, FILENODE + 1, 2,
		.lane0 = "", .lane1 = "" },
	{ "rewritten while lane 1 is ahead", "lost", OID, FILENODE + 1, 2,
		.lane0 = "", .lane1 = "10" },
	{ "rewritten after the end", "done rewritten", OID, FILENODE + 1, 2,
		.lane0 = "end", .lane1 = "end" },
	{ "another table of that name", "lost", OID + 1, FILENODE, 2,
		.lane0 = "10", .lane1 = "10" },
	{ "another table of that name, at its end", "lost", OID + 1, FILENODE, 2,
		.lane0 = "end", .lane1 = "end" },
	{ "another from_where", "lost", OID, FILENODE, 2,
		.lane0 = "10", .lane1 = "10", .where = "x" },
	{ "another from_where before anything was copied", "load 01 from ", OID, FILENODE, 2,
		.lane0 = "", .lane1 = "", .where = "x" },
	{ "another from_where after the end", "lost", OID, FILENODE, 2,
		.lane0 = "end", .lane1 = "end",
		.where = "x" },
	{ "by a key", "load 01 from =10", OID, FILENODE, 2,
		.lane0 = "=10", .lane1 = "=10", .by_key = true },
	{ "by a key now", "lost", OID, FILENODE, 2, .lane0 = "10", .lane1 = "10", .by_key = true },
	{ "by a key then", "lost", OID, FILENODE, 2, .lane0 = "=10", .lane1 = "=10" },
};

static struct mark mark_of(size_t i, int64_t lane, const struct conf *c, const char *upto)
{
	return (struct mark){
		.source = "public.t", .oid = cases[i].oid, .filenode = cases[i].filenode,
		.lanes = cases[i].lanes, .lane = lane, .where = resume_where(c),
		.rule = judge_rule(c, (size_t)cases[i].lanes), .upto = (char *)(uintptr_t)upto,
	};
}

static struct resume_verdict judge_case(size_t i, const struct conf *conf)
{
	struct conf then = *conf;
	struct mark at[3];
	struct marks marks = { .at = at };
	const struct origin_table table = { .oid = OID, .filenode = FILENODE, .name = "public.t" };

	then.from_where = (char *)(uintptr_t)cases[i].where;
	if (cases[i].lane0)
		at[marks.n++] = mark_of(i, 0, &then, cases[i].lane0);
	if (cases[i].lane1)
		at[marks.n++] = mark_of(i, 1, &then, cases[i].lane1);
	if (cases[i].lanes == 3)
		at[marks.n++] = mark_of(i, 2, &then, cases[i].lane1);
	return resume_judge(conf, &marks, &table, cases[i].by_key);
}

/* The rows of the run before went to another table. */
static void check_rules(const struct conf *conf)
{
	static const struct {
		const char *name, *lane0, *lane1, *wanted;
	} rules[] = {
		{ "another rule, lane 1 is ahead", "10", "20", "lost" },
		{ "another rule, from the beginning", "", "10", "lost" },
		{ "another rule, at a slice's end", "10", "10", "lost" },
		{ "another rule, at the end", "end", "end", "lost" },
		{ "another rule, nothing copied", "", "", "load 01 from " },
	};
	const struct origin_table table = { .oid = OID, .filenode = FILENODE, .name = "public.t" };
	struct conf then = *conf;
	char text[100];

	then.dest.table = span_of("others");
	for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
		struct mark at[] = {
			mark_of(0, 0, &then, rules[i].lane0), mark_of(0, 1, &then, rules[i].lane1),
		};
		const struct marks marks = { .at = at, .n = 2 };
		struct resume_verdict v = resume_judge(conf, &marks, &table, false);
		verdict_text(&v, text, sizeof text);
		check_str(rules[i].name, text, rules[i].wanted);
	}

	/* the mark of a lane that has nothing tells of a run that copied nothing */
	struct mark at[] = { mark_of(0, 0, &then, ""), mark_of(0, 1, conf, "10") };
	const struct marks marks = { .at = at, .n = 2 };
	struct resume_verdict v = resume_judge(conf, &marks, &table, false);
	verdict_text(&v, text, sizeof text);
	check_str("another rule of what was not copied", text, "load 0 from  to 10");
}

static void check_columns(const struct conf *conf)
{
	const struct origin_table table = {
		.oid = OID, .filenode = FILENODE, .name = "public.t", .columns = 5,
	};
	static const struct {
		const char *name, *upto;
		int64_t columns;
		bool wanted;
	} then[] = {
		{ "other columns", "10", 4, true }, { "the same columns", "10", 5, false },
		{ "columns that are not known", "10", 0, false },
		{ "other columns, nothing copied", "", 4, false },
		{ "other columns, after the end", "end", 4, false },
	};

	for (size_t i = 0; i < sizeof then / sizeof *then; i++) {
		struct mark at[] = {
			mark_of(0, 0, conf, then[i].upto), mark_of(0, 1, conf, then[i].upto),
		};
		at[0].columns = at[1].columns = then[i].columns;
		const struct marks marks = { .at = at, .n = 2 };
		check_int(then[i].name, resume_judge(conf, &marks, &table, false).altered,
			then[i].wanted);
	}
}

int main(void)
{
	struct conf conf = { .lanes = 2, .dest.table = span_of("orders") };
	char text[100];

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct resume_verdict v = judge_case(i, &conf);
		verdict_text(&v, text, sizeof text);
		check_str(cases[i].name, text, cases[i].wanted);
	}

	check_rules(&conf);
	check_columns(&conf);
	return unit_end();
}

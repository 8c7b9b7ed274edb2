/*
 * Tests of rules: which one an event has, and which destination.
 *
 * Linked with: base/buf.c base/tally.c urlenc.c event/date.c event/zone.c event/list.c
 * event/period.c event/sql.c event/template.c event/nesting.c event/filter.c event/told.c
 * conf/dest.c conf/key.c conf/rule.c
 */
#include "unit.h"

static struct rule rule_of(char *section, bool by_type, char *dest_table)
{
	static char fields[] = "*", zone[] = "text", day[] = "day", daily[] = "daily";

	return (struct rule){
		.section = section, .pattern = span_of(section), .by_type = by_type,
		.by_name = strstr(dest_table, "%(") != NULL,
		.dest = { .dest_table = dest_table, .fields = fields, .part_timezone = zone,
			.part_field = day, .part_method = daily },
	};
}

static char any[] = "*.*", logs[] = "public.log_*", orders[] = "public.orders",
	log_a[] = "public.log_a", types[] = "order.*", into[] = "x";

/* Exact names before patterns, then the order of the file. */
static void test_find(void)
{
	struct rule rules[] = {
		rule_of(logs, false, into), rule_of(any, false, into), rule_of(orders, false, into),
		rule_of(log_a, false, into), rule_of(types, true, into),
	};
	const struct conf conf = { .rule = rules, .nrule = COUNT(rules) };
	static const struct { const char *table, *type; int wanted; } events[] = {
		{ "public.orders", "I:id", 2 }, { "public.log_a", "I:id", 3 },
		{ "public.log_b", "I:id", 0 }, { "public.Log_b", "I:id", 1 },
		{ "other.log_b", "I:id", 1 }, { "nodot", "order.x", -1 }, { "", "order.x", -1 },
		{ NULL, "order.created", 4 }, { NULL, "I:id", -1 }, { NULL, "public.orders", -1 },
	};

	for (size_t i = 0; i < COUNT(events); i++) {
		const struct rule *found = rule_find(&conf, span_of(events[i].table),
			span_of(events[i].type));
		check_int(events[i].table ? events[i].table : events[i].type,
			found ? found - rules : -1, events[i].wanted);
	}
}

/* What stands for %(schema)s and %(table)s, or why there is no destination. */
static void test_names(void)
{
	static const struct { const char *text, *table, *schema, *name; } names[] = {
		{ "archive.%(table)s", "public.a", "archive", "a" },
		{ "%(schema)s_log.%(table)s", "public.a", "public_log", "a" },
		{ "%(table)s", "public.a", "", "a" },
		{ "archive.%(schema)s_%(table)s", "public.a", "archive", "public_a" },
		{ "archive.%(table)s", "nodot", "archive", "nodot" },
		{ "archive.%(table)s", "public.a\"; drop table x", "archive", "a\"; drop table x" },
		{ "archive.%(table)s", "public.a\nb", "archive", "a\nb" },
		{ "archive.%(table)s", "public.", NULL, "empty" },
		{ "archive.%(table)s", "", NULL, "empty" },
		{ "%(table)s", "public.a.b", NULL, "dot" },
		{ "archive.%(table)s",
			"public.012345678901234567890123456789012345678901234567890123", NULL,
			"63 bytes" },
	};

	for (size_t i = 0; i < COUNT(names); i++) {
		char *text = mem_str(names[i].text, strlen(names[i].text));
		struct rule rule = rule_of(any, false, text);
		struct dest dest;
		struct err e = { 0 };
		int rc = rule_dest(&rule, span_of(names[i].table), &dest, &e);
		check_int(names[i].table, rc, names[i].schema ? 0 : ERR_DATA);
		if (rc == 0) {
			check_int("schema", span_is(dest.schema, names[i].schema), true);
			check_int("table", span_is(dest.table, names[i].name), true);
		} else {
			check_int(e.msg, strstr(e.msg, names[i].name) != NULL, true);
		}
		rule_dest_free(&dest);
		free(text);
	}
}

static void test_matches(void)
{
	static const struct { const char *pattern, *text; bool wanted; } cases[] = {
		{ "*", "", true }, { "*", "a", true }, { "a*", "a", true },
		{ "a*b*c", "axbxbc", true },
		{ "a*b", "ab", true }, { "a*b", "ba", false }, { "", "", true }, { "", "a", false },
		{ "**", "x", true }, { "*a", "aaab", false },
		{ "public.po_*", "public.po_2026", true },
		{ "public.po_*", "public.pos", false },
	};

	for (size_t i = 0; i < COUNT(cases); i++)
		check_int(cases[i].pattern, text_matches(span_of(cases[i].pattern),
			span_of(cases[i].text)), cases[i].wanted);
}

int main(void)
{
	test_find();
	test_names();
	test_matches();
	return unit_end();
}

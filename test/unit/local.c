/*
 * Tests of periods in named zones, of lists and of ranges of numbers. The server is a model of how
 * PostgreSQL reads a local time; the zones' clocks are put forward and back at awkward times.
 *
 * Linked with: base/buf.c event/date.c event/zone.c event/list.c event/period.c event/local.c
 * event/number.c
 */
#include "../../event/private.h"
#include "unit.h"

#define HOUR 3600
#define DAY 86400
#define DAY_0 INT64_C(19000)            /* 2022-01-08 */
#define DAYS 70

struct shift {                          /* clocks are moved at that moment, UTC */
	int64_t at_s;
	int64_t offset_s;               /* to that offset, from the one before */
};

struct model {
	const char *name;
	int64_t offset_s;               /* at first */
	struct shift shift[4];
	int nshift;
};

/* Local times of the moves are in the names. */
static const struct model models[] = {
	{ "none", 5 * HOUR + 1800, { { 0, 0 } }, 0 },
	{ "forward at 2, back at 3", 3600, { { (DAY_0 + 20) * DAY + HOUR, 7200 },
		{ (DAY_0 + 40) * DAY + HOUR, 3600 } }, 2 },
	{ "forward at midnight, back at midnight", -10800, {
		{ (DAY_0 + 20) * DAY + 3 * HOUR, -7200 },
		{ (DAY_0 + 40) * DAY + 2 * HOUR, -10800 } }, 2 },
	{ "forward and back at one minute past midnight", -12600, {
		{ (DAY_0 + 20) * DAY + 12600 + 60, -9000 },
		{ (DAY_0 + 40) * DAY + 9000 + 60, -12600 } }, 2 },
	{ "forward at 23:30", -18000, { { (DAY_0 + 21) * DAY + 18000 - 1800, -14400 },
		{ (DAY_0 + 40) * DAY + 14400, -18000 } }, 2 },
	{ "half an hour", 37800, { { (DAY_0 + 20) * DAY - 37800 + 2 * HOUR, 39600 },
		{ (DAY_0 + 40) * DAY - 39600 + 2 * HOUR, 37800 } }, 2 },
	{ "a day that never was", -10 * HOUR, { { (DAY_0 + 20) * DAY + 10 * HOUR, 14 * HOUR },
		{ (DAY_0 + 40) * DAY - 10 * HOUR, 13 * HOUR } }, 2 },
	{ "a day from noon to noon", -10 * HOUR, { { (DAY_0 + 20) * DAY + 22 * HOUR, 14 * HOUR } },
		1 },
	{ "a day again", 14 * HOUR, { { (DAY_0 + 30) * DAY - 14 * HOUR, -10 * HOUR } }, 1 },
	{ "seconds", 3208, { { (DAY_0 + 20) * DAY - 3208, 3600 } }, 1 },
};

static int asked;                       /* questions */

static int64_t offset_at(const struct model *m, int64_t at_s)
{
	int64_t offset_s = m->offset_s;

	for (int i = 0; i < m->nshift; i++)
		if (at_s >= m->shift[i].at_s)
			offset_s = m->shift[i].offset_s;
	return offset_s;
}

/* Of two moments the later one; of none, as clocks went before. */
static int64_t instant_of(const struct model *m, int64_t local_s)
{
	int64_t best = INT64_MIN;

	for (int i = -1; i < m->nshift; i++) {
		int64_t offset_s = i < 0 ? m->offset_s : m->shift[i].offset_s;
		int64_t at_s = local_s - offset_s;
		if (offset_at(m, at_s) == offset_s && at_s > best)
			best = at_s;
	}
	for (int i = 0; i < m->nshift && best == INT64_MIN; i++) {
		int64_t before_s = i ? m->shift[i - 1].offset_s : m->offset_s;
		int64_t after_s = m->shift[i].offset_s, at_s = m->shift[i].at_s;
		if (local_s >= at_s + before_s && local_s < at_s + after_s)
			best = local_s - before_s;
	}
	return best;
}

static bool is_real(const struct model *m, int64_t local_s)
{
	int64_t at_s = instant_of(m, local_s);

	return at_s + offset_at(m, at_s) == local_s;
}

static int ask(void *arg, struct zone_bound *bound, size_t n, struct err *e)
{
	const struct model *m = arg;

	(void)e;
	asked++;
	for (size_t i = 0; i < n; i++) {
		struct zone_bound *b = &bound[i];
		int64_t before_s = b->local_s - 1, at_s = instant_of(m, before_s);
		b->at_s = instant_of(m, b->local_s);
		b->gap_s = at_s + offset_at(m, at_s) - before_s;
		b->gap_local_s = b->local_s;
		while (!is_real(m, b->gap_local_s - 1))
			b->gap_local_s--;
	}
	return 0;
}

/* As PERIOD_LITERAL would have it. */
static void put_time(char out[40], int64_t local_s)
{
	int year, month, day;
	int64_t days = date_floor(local_s, DAY), s = local_s - days * DAY;

	date_of_days(days, &year, &month, &day);
	snprintf(out, 40, "%04d-%02d-%02d %02d:%02d:%02d", year, month, day, (int)(s / HOUR),
		(int)(s / 60 % 60), (int)(s % 60));
}

/* The period between whose midnights the moment is, by looking at them all. */
static int64_t slow_start(const struct model *m, const struct period_rule *rule, int64_t at_s)
{
	const struct period_rule plain = { .method = rule->method };
	int64_t start_s, end_s;
	const char *why;

	period_of_clock(&plain, at_s - 2 * DAY, &start_s, &why);
	for (;; start_s = end_s) {
		end_s = period_end(&plain, start_s);
		if (instant_of(m, start_s) <= at_s && at_s < instant_of(m, end_s))
			return start_s;
	}
}

static void check_moment(const struct model *m, const struct period_rule *rule, int64_t local_s,
	int *wrong)
{
	char text[40], zoned[60];
	int64_t at_s = instant_of(m, local_s), wanted = slow_start(m, rule, at_s), got = -1;
	struct err e = { 0 };
	const char *why;

	put_time(text, local_s);
	local_of_text(rule, span_of(text), &got, &why, &e);
	if (got != wanted && ++*wrong < 4)
		check_int(text, got, wanted);
	put_time(text, at_s + 2 * HOUR);
	snprintf(zoned, sizeof zoned, "%s+02", text);
	local_of_text(rule, span_of(zoned), &got, &why, &e);
	if (got != wanted && ++*wrong < 4)
		check_int(zoned, got, wanted);
	local_of_usecs(rule, (at_s - INT64_C(946684800)) * 1000000, &got, &why, &e);
	if (got != wanted && ++*wrong < 4)
		check_int("usecs", got, wanted);
}

/* Each minute around the moves, and some of the other days. */
static void test_model(const struct model *m)
{
	for (enum period_method method = PERIOD_YEARLY; method <= PERIOD_DAILY; method++) {
		struct zone zone = { .name = m->name, .ask = ask, .arg = (void *)(uintptr_t)m };
		struct period_rule rule = { .method = method, .zoned = true, .named = true,
			.zone = &zone };
		int wrong = 0;
		asked = 0;
		for (int64_t s = 0; s < DAYS * DAY; s += s / DAY % 10 > 1 && s / DAY % 10 < 8 ?
		     1201 : 60)
			check_moment(m, &rule, DAY_0 * DAY + s, &wrong);
		for (int64_t s = 0; s < DAYS * DAY; s += 7919)
			check_moment(m, &rule, (DAY_0 + DAYS) * DAY - s, &wrong);
		check_int(m->name, wrong, 0);
		check_int("questions", asked <= DAYS / 4, 1);
		zone_clear(&zone);
	}
}

static void test_no_day(void)
{
	const struct model *m = &models[6];
	struct zone zone = { .name = m->name, .ask = ask, .arg = (void *)(uintptr_t)m };
	struct period_rule rule = { .method = PERIOD_DAILY, .zoned = true, .zone = &zone };
	int64_t before_s = (DAY_0 + 19) * DAY;
	char text[PERIOD_LITERAL_MAX];
	struct err e = { 0 };

	local_know(&rule, before_s, &e);
	check_int("it is empty", period_is_empty(&rule, before_s + DAY), 1);
	check_int("the day before is not", period_is_empty(&rule, before_s), 0);
	check_int("it is passed over", period_end(&rule, before_s), before_s + 2 * DAY);
	period_literal(&rule, before_s, text);
	check_span("", span_of("before"), span_of(text), span_of("2022-01-27 00:00:00-10:00"));
	period_literal(&rule, before_s + 2 * DAY, text);
	check_span("", span_of("after"), span_of(text), span_of("2022-01-29 00:00:00+14:00"));
	zone_clear(&zone);
}

static int refuse(void *arg, struct zone_bound *bound, size_t n, struct err *e)
{
	(void)arg;
	(void)bound;
	(void)n;
	return err_set(e, ERR_CONN, "gone");
}

static void test_no_answer(void)
{
	struct zone zone = { .name = "x", .ask = refuse };
	struct period_rule rule = { .method = PERIOD_DAILY, .zoned = true, .zone = &zone };
	static const char *const texts[] = { "2026-01-01", "2026-01-01 00:00:00+00" };
	int64_t start_s;
	const char *why;

	for (size_t i = 0; i < COUNT(texts); i++) {
		struct err e = { 0 };
		check_int(texts[i], local_of_text(&rule, span_of(texts[i]), &start_s, &why, &e),
			-1);
		check_int("no reason of the value's own", !why, 1);
		check_int("the error", e.code, ERR_CONN);
	}
	struct err e = { 0 };
	check_int("no date", local_of_text(&rule, span_of("1.1.2026"), &start_s, &why, &e), -1);
	check_int("a reason", why && !e.code, 1);
	check_int("no year", local_of_text(&rule, span_of("9999-12-31 23:00-02"), &start_s, &why,
		&e), -1);
	check_int("a reason", why && !e.code, 1);
}

/* ---- numbers */

static const struct { const char *text; int64_t step, start; const char *suffix; } numbers[] = {
	{ "0", 10, 0, "_0" }, { "9", 10, 0, "_0" }, { "10", 10, 10, "_10" },
	{ "-1", 10, -10, "_m10" }, { "-10", 10, -10, "_m10" }, { "-11", 10, -20, "_m20" },
	{ "+7", 1, 7, "_7" }, { "0007", 2, 6, "_6" }, { "-0", 3, 0, "_0" },
	{ "9223372036854775806", 1, INT64_MAX - 1, "_9223372036854775806" },
	{ "9223372036854775807", 1, 0, NULL }, { "9223372036854775808", 1, 0, NULL },
	{ "-9223372036854775808", 1, INT64_MIN, "_m9223372036854775808" },
	{ "-9223372036854775808", 10, 0, NULL }, { "-9223372036854775809", 1, 0, NULL },
	{ "1", INT64_MAX, 0, "_0" }, { "-1", INT64_MAX, -INT64_MAX, "_m9223372036854775807" },
	{ "", 1, 0, NULL }, { "-", 1, 0, NULL }, { "1.0", 1, 0, NULL }, { "1e3", 1, 0, NULL },
	{ " 1", 1, 0, NULL }, { "1 ", 1, 0, NULL }, { "0x1", 1, 0, NULL }, { "1_0", 1, 0, NULL },
	{ "--1", 1, 0, NULL }, { "NaN", 1, 0, NULL },
};

static void test_numbers(void)
{
	char suffix[PERIOD_SUFFIX_MAX];
	const char *why;
	int64_t start;

	for (size_t i = 0; i < COUNT(numbers); i++) {
		struct period_rule rule = { .method = PERIOD_NUMBER, .step = numbers[i].step };
		struct span text = span_of(numbers[i].text);
		if (number_of_text(&rule, text, &start, &why) < 0) {
			check_int(numbers[i].text, numbers[i].suffix == NULL && why, 1);
			continue;
		}
		period_suffix(&rule, start, suffix);
		check_span("range of", text, span_of(suffix), span_of(numbers[i].suffix));
		check_int(numbers[i].text, start, numbers[i].start);
		start = 99;
		check_int(suffix, period_of_suffix(&rule, span_of(suffix), &start) ? start : 98,
			numbers[i].start);
	}
	static const char *const others[] = { "_5", "_m5", "_010", "_-10", "_m0", "10", "_", "_m",
		"_10x", "_99999999999999999990", "_+10" };
	const struct period_rule rule = { .method = PERIOD_NUMBER, .step = 10 };
	for (size_t i = 0; i < COUNT(others); i++)
		check_int(others[i], period_of_suffix(&rule, span_of(others[i]), &start), false);
	check_int("there is a next", number_has_next(&rule, INT64_MAX - 20), true);
	check_int("there is none", number_has_next(&rule, INT64_MAX - 19), false);
}

/* ---- lists */

static void test_list(void)
{
	struct list list = { 0 };
	struct period_rule rule = { .method = PERIOD_LIST, .list = &list };
	char text[20], suffix[PERIOD_SUFFIX_MAX];
	int64_t number, same = 0;

	for (int i = 0; i < 5000; i++) {
		snprintf(text, sizeof text, "v%d", i);
		same += list_number(&list, span_of(text)) == i;
	}
	for (int i = 0; i < 5000; i++) {
		snprintf(text, sizeof text, "v%d", i);
		same += list_number(&list, span_of(text)) == i;
	}
	check_int("a number for each value", same, 10000);
	period_suffix(&rule, 4711, suffix);
	check_span("", span_of("suffix"), span_of(suffix), span_of("_v4711"));
	check_int("back", period_of_suffix(&rule, span_of(suffix), &number) ? number : -1, 4711);
	check_int("nothing", period_of_suffix(&rule, span_of("_"), &number), false);
	check_int("a blank", period_of_suffix(&rule, span_of("_a b"), &number), false);
	static const struct { struct span value; bool taken; } values[] = {
		{ TEXT("EE"), true }, { TEXT("_"), true }, { TEXT("0"), true }, { TEXT(""), false },
		{ TEXT("a b"), false }, { TEXT("\xc3\xa4"), false }, { TEXT("a\0b"), false },
		{ TEXT("123456789012345678901234567890"), true },
		{ TEXT("1234567890123456789012345678901"), false }, { TEXT("a.b"), false },
	};
	for (size_t i = 0; i < COUNT(values); i++)
		check_int(values[i].value.p, list_takes(values[i].value), values[i].taken);
	list_clear(&list);
}

/* ---- part_method */

static void test_methods(void)
{
	static const struct { const char *text; int method; int64_t step; } methods[] = {
		{ "daily", PERIOD_DAILY, 0 }, { "yearly", PERIOD_YEARLY, 0 },
		{ "hourly", PERIOD_HOURLY, 0 }, { "list", PERIOD_LIST, 0 },
		{ "number 1", PERIOD_NUMBER, 1 }, { "number   1000000", PERIOD_NUMBER, 1000000 },
		{ "number 9223372036854775807", PERIOD_NUMBER, INT64_MAX }, { "", -1, 0 },
		{ "number", -1, 0 }, { "number 0", -1, 0 }, { "number -1", -1, 0 },
		{ "number 1x", -1, 0 }, { "number 9223372036854775808", -1, 0 },
		{ "daily 3", -1, 0 }, { "list a", -1, 0 }, { "dail", -1, 0 }, { "Daily", -1, 0 },
		{ "number 01", -1, 0 },
	};

	for (size_t i = 0; i < COUNT(methods); i++) {
		struct period_rule rule = { 0 };
		bool ok = period_method(&rule, methods[i].text);
		check_int(methods[i].text, ok ? (int)rule.method : -1, methods[i].method);
		if (ok)
			check_int("its step", rule.step, methods[i].step);
	}
}

int main(void)
{
	for (size_t i = 0; i < COUNT(models); i++)
		test_model(&models[i]);
	test_no_day();
	test_no_answer();
	test_numbers();
	test_list();
	test_methods();
	return unit_end();
}

/* Tests of period.c: which period a date's text falls into, its name and its bounds. */
#include "../../base/buf.c"
#include "../../event/date.c"
#include "../../event/list.c"
#include "../../event/zone.c"
#include "../../event/period.c"
#include "unit.h"

#define NO_DATE "it is no ISO date (YYYY-MM-DD, optionally with a time and an offset)"
#define NO_YEAR "it is outside the years 1 to 9999"

static const char *const method_name[] = {
	[PERIOD_NONE] = "none", [PERIOD_YEARLY] = "yearly", [PERIOD_MONTHLY] = "monthly",
	[PERIOD_WEEKLY] = "weekly", [PERIOD_DAILY] = "daily", [PERIOD_HOURLY] = "hourly",
};

static struct period_rule rule_of(enum period_method method, const char *zone)
{
	struct period_rule rule = { .method = method };

	if (!period_zone(&rule, zone)) {
		printf("the test's own zone %s is bad\n", zone);
		exit(1);
	}
	return rule;
}

/* "suffix start end", the last two as literals. */
static void describe(struct buf *out, const struct period_rule *rule, int64_t start_s)
{
	char suffix[PERIOD_SUFFIX_MAX], from[PERIOD_LITERAL_MAX], to[PERIOD_LITERAL_MAX];

	period_suffix(rule, start_s, suffix);
	period_literal(rule, start_s, from);
	period_literal(rule, period_end(rule, start_s), to);
	buf_fmt(out, "%s [%s, %s)", suffix, from, to);
}

/* ---- text to period */

static const struct {
	enum period_method method;
	const char *zone, *text, *wanted;
} texts[] = {
	/* every method, the date as written */
	{ PERIOD_DAILY, "text", "2026-01-31", "_2026_01_31 [2026-01-31, 2026-02-01)" },
	{ PERIOD_DAILY, "text", "2026-12-31", "_2026_12_31 [2026-12-31, 2027-01-01)" },
	{ PERIOD_MONTHLY, "text", "2026-01-31", "_2026_01 [2026-01-01, 2026-02-01)" },
	{ PERIOD_MONTHLY, "text", "2026-12-01", "_2026_12 [2026-12-01, 2027-01-01)" },
	{ PERIOD_YEARLY, "text", "2026-06-15", "_2026 [2026-01-01, 2027-01-01)" },
	{ PERIOD_YEARLY, "text", "2026-12-31 23:59:59.999999", "_2026 [2026-01-01, 2027-01-01)" },
	{ PERIOD_WEEKLY, "text", "2026-02-11", "_2026_w07 [2026-02-09, 2026-02-16)" },
	{ PERIOD_HOURLY, "text", "2026-01-31 10:20:30", "_2026_01_31_10 [2026-01-31 10:00:00,"
		" 2026-01-31 11:00:00)" },
	{ PERIOD_HOURLY, "text", "2026-01-31 23:59:59", "_2026_01_31_23 [2026-01-31 23:00:00,"
		" 2026-02-01 00:00:00)" },
	{ PERIOD_HOURLY, "text", "2026-01-31", "_2026_01_31_00 [2026-01-31 00:00:00, 2026-01-31"
		" 01:00:00)" },
	{ PERIOD_HOURLY, "text", "1969-12-31 23:30", "_1969_12_31_23 [1969-12-31 23:00:00,"
		" 1970-01-01 00:00:00)" },

	/* leap years */
	{ PERIOD_DAILY, "text", "2024-02-29", "_2024_02_29 [2024-02-29, 2024-03-01)" },
	{ PERIOD_DAILY, "text", "2024-02-28", "_2024_02_28 [2024-02-28, 2024-02-29)" },
	{ PERIOD_DAILY, "text", "2026-02-28", "_2026_02_28 [2026-02-28, 2026-03-01)" },
	{ PERIOD_DAILY, "text", "2000-02-29", "_2000_02_29 [2000-02-29, 2000-03-01)" },
	{ PERIOD_DAILY, "text", "1900-02-28", "_1900_02_28 [1900-02-28, 1900-03-01)" },
	{ PERIOD_MONTHLY, "text", "2024-02-29", "_2024_02 [2024-02-01, 2024-03-01)" },
	{ PERIOD_DAILY, "text", "1900-02-29", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "2100-02-29", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "2026-02-29", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "2024-02-30", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "2026-02-30", "!" NO_DATE },

	/* the first and the last years */
	{ PERIOD_DAILY, "text", "0001-01-01", "_0001_01_01 [0001-01-01, 0001-01-02)" },
	{ PERIOD_WEEKLY, "text", "0001-01-01", "_0001_w01 [0001-01-01, 0001-01-08)" },
	{ PERIOD_YEARLY, "text", "0099-05-05", "_0099 [0099-01-01, 0100-01-01)" },
	{ PERIOD_DAILY, "text", "1969-12-31", "_1969_12_31 [1969-12-31, 1970-01-01)" },
	{ PERIOD_DAILY, "text", "9999-12-31", "_9999_12_31 [9999-12-31, 10000-01-01)" },
	{ PERIOD_MONTHLY, "text", "9999-12-31", "_9999_12 [9999-12-01, 10000-01-01)" },
	{ PERIOD_YEARLY, "text", "9999-12-31", "_9999 [9999-01-01, 10000-01-01)" },
	{ PERIOD_WEEKLY, "text", "9999-12-31", "_9999_w52 [9999-12-27, 10000-01-03)" },
	{ PERIOD_HOURLY, "text", "9999-12-31 23:00:00", "_9999_12_31_23 [9999-12-31 23:00:00,"
		" 10000-01-01 00:00:00)" },

	/* forms of the time */
	{ PERIOD_HOURLY, "text", "2026-01-31T10:20:30", "_2026_01_31_10 [2026-01-31 10:00:00,"
		" 2026-01-31 11:00:00)" },
	{ PERIOD_HOURLY, "text", "2026-01-31 10:20", "_2026_01_31_10 [2026-01-31 10:00:00,"
		" 2026-01-31 11:00:00)" },
	{ PERIOD_HOURLY, "text", "2026-01-31 10:20:30.1", "_2026_01_31_10 [2026-01-31 10:00:00,"
		" 2026-01-31 11:00:00)" },
	{ PERIOD_HOURLY, "text", "2026-01-31 10:59:59.123456789", "_2026_01_31_10 [2026-01-31"
		" 10:00:00, 2026-01-31 11:00:00)" },
	{ PERIOD_HOURLY, "text", "2026-01-31 00:00:00", "_2026_01_31_00 [2026-01-31 00:00:00,"
		" 2026-01-31 01:00:00)" },
	{ PERIOD_DAILY, "text", "2026-01-31 24:00:00", "_2026_01_31 [2026-01-31, 2026-02-01)" },
	{ PERIOD_HOURLY, "text", "2026-01-31 23:59:60", "_2026_01_31_23 [2026-01-31 23:00:00,"
		" 2026-02-01 00:00:00)" },
	{ PERIOD_HOURLY, "text", "2026-01-31 24:00", "_2026_01_31_23 [2026-01-31 23:00:00,"
		" 2026-02-01 00:00:00)" },
	{ PERIOD_HOURLY, "text", "2026-01-31 12:59:60.5", "_2026_01_31_12 [2026-01-31 12:00:00,"
		" 2026-01-31 13:00:00)" },
	{ PERIOD_MONTHLY, "text", "2026-01-31 24:00:00+02", "_2026_01 [2026-01-01, 2026-02-01)" },
	{ PERIOD_DAILY, "UTC", "2026-01-31 24:00:00", "_2026_02_01 [2026-02-01 00:00:00+00:00,"
		" 2026-02-02 00:00:00+00:00)" },
	{ PERIOD_DAILY, "UTC", "2026-01-31 23:59:60Z", "_2026_02_01 [2026-02-01 00:00:00+00:00,"
		" 2026-02-02 00:00:00+00:00)" },
	{ PERIOD_DAILY, "text", "9999-12-31 24:00:00", "_9999_12_31 [9999-12-31, 10000-01-01)" },

	/* as written: an offset is read, and changes nothing */
	{ PERIOD_DAILY, "text", "2026-01-31 23:30:00+02", "_2026_01_31 [2026-01-31, 2026-02-01)" },
	{ PERIOD_DAILY, "text", "2026-01-31 23:30:00-11:30", "_2026_01_31 [2026-01-31,"
		" 2026-02-01)" },
	{ PERIOD_DAILY, "text", "2026-01-31T00:30:00Z", "_2026_01_31 [2026-01-31, 2026-02-01)" },
	{ PERIOD_HOURLY, "text", "2026-01-31 00:30:00.25+05:45", "_2026_01_31_00 [2026-01-31"
		" 00:00:00, 2026-01-31 01:00:00)" },
	{ PERIOD_DAILY, "text", "1883-11-18 12:03:57-04:56:02", "_1883_11_18 [1883-11-18,"
		" 1883-11-19)" },
	{ PERIOD_DAILY, "text", "9999-12-31 23:59:59-12", "_9999_12_31 [9999-12-31, 10000-01-01)" },
	{ PERIOD_DAILY, "text", "0001-01-01 00:00:00+12", "_0001_01_01 [0001-01-01, 0001-01-02)" },

	/* in UTC */
	{ PERIOD_DAILY, "UTC", "2026-01-31 23:30:00+02", "_2026_01_31 [2026-01-31 00:00:00+00:00,"
		" 2026-02-01 00:00:00+00:00)" },
	{ PERIOD_DAILY, "UTC", "2026-02-01 01:30:00+02", "_2026_01_31 [2026-01-31 00:00:00+00:00,"
		" 2026-02-01 00:00:00+00:00)" },
	{ PERIOD_DAILY, "UTC", "2026-01-31 23:30:00-00:30", "_2026_02_01 [2026-02-01"
		" 00:00:00+00:00, 2026-02-02 00:00:00+00:00)" },
	{ PERIOD_DAILY, "UTC", "2026-01-31 23:30:00-0030", "_2026_02_01 [2026-02-01 00:00:00+00:00,"
		" 2026-02-02 00:00:00+00:00)" },
	{ PERIOD_DAILY, "UTC", "2026-02-01T00:00:00Z", "_2026_02_01 [2026-02-01 00:00:00+00:00,"
		" 2026-02-02 00:00:00+00:00)" },
	{ PERIOD_DAILY, "UTC", "2026-02-01 01:59:59.999999+02", "_2026_01_31 [2026-01-31"
		" 00:00:00+00:00, 2026-02-01 00:00:00+00:00)" },
	{ PERIOD_DAILY, "UTC", "2026-02-01", "_2026_02_01 [2026-02-01 00:00:00+00:00, 2026-02-02"
		" 00:00:00+00:00)" },
	{ PERIOD_DAILY, "UTC", "2026-02-01 00:30:00", "_2026_02_01 [2026-02-01 00:00:00+00:00,"
		" 2026-02-02 00:00:00+00:00)" },
	{ PERIOD_HOURLY, "UTC", "2026-01-31 10:20:30+05:30", "_2026_01_31_04 [2026-01-31"
		" 04:00:00+00:00, 2026-01-31 05:00:00+00:00)" },
	{ PERIOD_HOURLY, "UTC", "1883-11-18 12:03:57-04:56:03", "_1883_11_18_17 [1883-11-18"
		" 17:00:00+00:00, 1883-11-18 18:00:00+00:00)" },
	{ PERIOD_HOURLY, "UTC", "1883-11-18 12:03:57-04:56:02", "_1883_11_18_16 [1883-11-18"
		" 16:00:00+00:00, 1883-11-18 17:00:00+00:00)" },
	{ PERIOD_MONTHLY, "UTC", "2026-01-01 00:30:00+01", "_2025_12 [2025-12-01 00:00:00+00:00,"
		" 2026-01-01 00:00:00+00:00)" },
	{ PERIOD_YEARLY, "UTC", "2025-12-31 23:30:00-01", "_2026 [2026-01-01 00:00:00+00:00,"
		" 2027-01-01 00:00:00+00:00)" },
	{ PERIOD_WEEKLY, "UTC", "2026-02-09 01:00:00+02", "_2026_w06 [2026-02-02 00:00:00+00:00,"
		" 2026-02-09 00:00:00+00:00)" },
	{ PERIOD_DAILY, "UTC", "2024-02-28 23:30:00-01", "_2024_02_29 [2024-02-29 00:00:00+00:00,"
		" 2024-03-01 00:00:00+00:00)" },

	/* in other zones */
	{ PERIOD_DAILY, "+02:00", "2026-01-31 22:30:00+00", "_2026_02_01 [2026-02-01"
		" 00:00:00+02:00, 2026-02-02 00:00:00+02:00)" },
	{ PERIOD_DAILY, "+02", "2026-01-31 23:30:00+02", "_2026_01_31 [2026-01-31 00:00:00+02:00,"
		" 2026-02-01 00:00:00+02:00)" },
	{ PERIOD_DAILY, "+02", "2026-01-31 23:30:00", "_2026_01_31 [2026-01-31 00:00:00+02:00,"
		" 2026-02-01 00:00:00+02:00)" },
	{ PERIOD_DAILY, "-05:00", "2026-01-31 04:59:59Z", "_2026_01_30 [2026-01-30 00:00:00-05:00,"
		" 2026-01-31 00:00:00-05:00)" },
	{ PERIOD_DAILY, "-05:00", "2026-01-31 05:00:00Z", "_2026_01_31 [2026-01-31 00:00:00-05:00,"
		" 2026-02-01 00:00:00-05:00)" },
	{ PERIOD_HOURLY, "+05:30", "2026-01-31 10:20:00Z", "_2026_01_31_15 [2026-01-31"
		" 15:00:00+05:30, 2026-01-31 16:00:00+05:30)" },
	{ PERIOD_HOURLY, "-03:30", "2026-01-31 10:20:00Z", "_2026_01_31_06 [2026-01-31"
		" 06:00:00-03:30, 2026-01-31 07:00:00-03:30)" },
	{ PERIOD_DAILY, "-00:30", "2026-01-31 00:15:00Z", "_2026_01_30 [2026-01-30 00:00:00-00:30,"
		" 2026-01-31 00:00:00-00:30)" },
	{ PERIOD_DAILY, "+14:00", "2026-01-31 11:00:00-11", "_2026_02_01 [2026-02-01"
		" 00:00:00+14:00, 2026-02-02 00:00:00+14:00)" },

	/* moments that the zone carries out of the years, or into them */
	{ PERIOD_DAILY, "UTC", "0001-01-01 00:00:00+00:01", "!" NO_YEAR },
	{ PERIOD_DAILY, "UTC", "0001-01-01 00:01:00+00:01", "_0001_01_01 [0001-01-01"
		" 00:00:00+00:00, 0001-01-02 00:00:00+00:00)" },
	{ PERIOD_DAILY, "UTC", "9999-12-31 23:59:59-01", "!" NO_YEAR },
	{ PERIOD_DAILY, "-01", "9999-12-31 23:59:59Z", "_9999_12_31 [9999-12-31 00:00:00-01:00,"
		" 10000-01-01 00:00:00-01:00)" },
	{ PERIOD_YEARLY, "+01", "9999-12-31 23:00:00Z", "!" NO_YEAR },
	{ PERIOD_YEARLY, "-01", "0001-01-01 00:59:59Z", "!" NO_YEAR },
	{ PERIOD_DAILY, "UTC", "9999-12-31 24:00:00", "!" NO_YEAR },
	{ PERIOD_HOURLY, "UTC", "9999-12-31 23:59:60", "!" NO_YEAR },

	/* what is no ISO date, or has something after it */
	{ PERIOD_DAILY, "text", "", "!" NO_DATE },
	{ PERIOD_DAILY, "text", " ", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "03/02/2026", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "03-02-2026", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "03.02.2026", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "Tue Feb 03 10:00:00 2026 CET", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "infinity", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "-infinity", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "now", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "0044-03-15 BC", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "0044-03-15 12:00:00 BC", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "0044-03-15 12:00:00+01 BC", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "10000-01-01", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "294276-12-31", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "0000-01-01", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "-2026-01-01", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "+2026-01-01", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "26-01-01", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "2026", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "2026-01", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "2026-01-", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "2026-01-1", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "2026-1-01", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "20260101", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "2026/01/01", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "2026-W07-3", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "2026-00-01", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "2026-13-01", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "2026-01-00", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "2026-01-32", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "2026-04-31", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "2026-06-31", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "2026-09-31", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "2026-11-31", "!" NO_DATE },
	{ PERIOD_DAILY, "text", " 2026-01-31", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "2026-01-31 ", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "2026-01-31x", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "2026-01-311", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "2026-01-31\n", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "2026-01-31+02", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "2026-01-31Z", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "2026-01-31  10:00:00", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "2026-01-31t10:00:00", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "2026-01-31T", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "2026-01-31 10", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "2026-01-31 10:", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "2026-01-31 10:0", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "2026-01-31 1:00:00", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "2026-01-31 10:00:", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "2026-01-31 10:00:0", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "2026-01-31 10:00:00.", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "2026-01-31 10:00:00,5", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "2026-01-31 10:00:00 ", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "2026-01-31 10:00:00x", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "2026-01-31 10:00:00 PM", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "2026-01-31 10:00:00 CET", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "2026-01-31 10:00:00 +02", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "2026-01-31 10:00:00z", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "2026-01-31 10:00:00Z0", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "2026-01-31 10:00:00+", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "2026-01-31 10:00:00+2", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "2026-01-31 10:00:00+02:", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "2026-01-31 10:00:00+02:3", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "2026-01-31 10:00:00+02:60", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "2026-01-31 10:00:00+02:00:60", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "2026-01-31 10:00:00+02:00:00:00", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "2026-01-31 10:00:00+020", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "2026-01-31 10:00:00+0200:30", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "2026-01-31 10:30.5", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "2026-01-31 10:00:00+16", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "2026-01-31 10:00:00+-2", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "2026-01-31 25:00:00", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "2026-01-31 24:00:01", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "2026-01-31 24:01:00", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "2026-01-31 24:00:00.5", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "2026-01-31 10:60:00", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "2026-01-31 10:00:61", "!" NO_DATE },
	{ PERIOD_DAILY, "text", "\xd9\xa2\xd9\xa0\xd9\xa2\xd9\xa6-01-31", "!" NO_DATE },
};

static void put_period(struct buf *got, const struct period_rule *rule, struct span text)
{
	char *copy = unit_exact(text);
	const char *why = "no reason";
	int64_t start_s;

	if (period_of_text(rule, (struct span){ copy, text.n }, &start_s, &why) < 0)
		buf_fmt(got, "!%s", why);
	else
		describe(got, rule, start_s);
	free(copy);
}

static void test_texts(void)
{
	struct buf got = { 0 };
	char about[40];

	for (size_t i = 0; i < COUNT(texts); i++) {
		struct period_rule rule = rule_of(texts[i].method, texts[i].zone);
		put_period(&got, &rule, span_of(texts[i].text));
		snprintf(about, sizeof about, "%s %s", method_name[texts[i].method], texts[i].zone);
		check_buf(about, span_of(texts[i].text), &got, texts[i].wanted);
	}
	struct period_rule daily = rule_of(PERIOD_DAILY, "text");
	put_period(&got, &daily, (struct span)TEXT("2026-01-31\0"));
	check_buf("daily text: NUL", span_of("after the date"), &got, "!" NO_DATE);
	buf_free(&got);
}

/* ---- ISO weeks: known dates around the ends of years */

static const struct { const char *date, *suffix; } weeks[] = {
	{ "1970-01-01", "_1970_w01" }, { "1969-12-31", "_1970_w01" }, { "1969-12-29", "_1970_w01" },
	{ "1969-12-28", "_1969_w52" }, { "1977-01-01", "_1976_w53" }, { "1977-01-02", "_1976_w53" },
	{ "1977-01-03", "_1977_w01" }, { "1977-12-31", "_1977_w52" }, { "1978-01-01", "_1977_w52" },
	{ "1978-01-02", "_1978_w01" }, { "1978-12-31", "_1978_w52" }, { "1979-01-01", "_1979_w01" },
	{ "1979-12-30", "_1979_w52" }, { "1979-12-31", "_1980_w01" }, { "1980-12-28", "_1980_w52" },
	{ "1980-12-29", "_1981_w01" }, { "1981-12-31", "_1981_w53" }, { "1982-01-03", "_1981_w53" },
	{ "1982-01-04", "_1982_w01" }, { "2000-01-01", "_1999_w52" }, { "2000-01-03", "_2000_w01" },
	{ "2000-12-31", "_2000_w52" }, { "2001-01-01", "_2001_w01" }, { "2004-12-27", "_2004_w53" },
	{ "2005-01-01", "_2004_w53" }, { "2005-01-02", "_2004_w53" }, { "2005-12-31", "_2005_w52" },
	{ "2006-01-01", "_2005_w52" }, { "2006-01-02", "_2006_w01" }, { "2006-12-31", "_2006_w52" },
	{ "2007-01-01", "_2007_w01" }, { "2007-12-30", "_2007_w52" }, { "2007-12-31", "_2008_w01" },
	{ "2008-12-28", "_2008_w52" }, { "2008-12-29", "_2009_w01" }, { "2009-12-31", "_2009_w53" },
	{ "2010-01-03", "_2009_w53" }, { "2010-01-04", "_2010_w01" }, { "2015-12-31", "_2015_w53" },
	{ "2020-12-31", "_2020_w53" }, { "2021-01-03", "_2020_w53" }, { "2021-01-04", "_2021_w01" },
	{ "2024-12-29", "_2024_w52" }, { "2024-12-30", "_2025_w01" }, { "2026-01-01", "_2026_w01" },
	{ "2026-12-31", "_2026_w53" }, { "2027-01-03", "_2026_w53" }, { "2027-01-04", "_2027_w01" },
};

static void test_weeks(void)
{
	struct period_rule rule = rule_of(PERIOD_WEEKLY, "text");
	char suffix[PERIOD_SUFFIX_MAX];
	const char *why;
	int64_t start_s;

	for (size_t i = 0; i < COUNT(weeks); i++) {
		suffix[0] = 0;
		if (period_of_text(&rule, span_of(weeks[i].date), &start_s, &why) == 0)
			period_suffix(&rule, start_s, suffix);
		check_span("week", span_of(weeks[i].date), span_of(suffix),
			span_of(weeks[i].suffix));
	}
}

/* ---- each day of the years 1 to 9999, against a calendar that only counts */

struct calendar {
	int64_t days;                   /* since 1970-01-01 */
	int year, month, day;
	int weekday;                    /* Monday is 0 */
	int week_year, week;            /* of the ISO week */
	int64_t month_start, year_start;
};

static int month_length(int year, int month)
{
	if (month == 2)
		return year % 400 == 0 || (year % 4 == 0 && year % 100 != 0) ? 29 : 28;
	return month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31;
}

/* On a Monday: the ISO year gets a new week, or ends because four days or more lie in the next
 * year. */
static void next_week(struct calendar *c)
{
	bool last_days = c->month == 12 && c->day >= 29, first_days = c->month == 1 && c->day <= 4;

	c->week++;
	if (last_days || first_days) {
		c->week = 1;
		c->week_year = last_days ? c->year + 1 : c->year;
	}
}

static void next_day(struct calendar *c)
{
	c->days++;
	if (++c->day > month_length(c->year, c->month)) {
		c->day = 1;
		c->month++;
		if (c->month > 12) {
			c->month = 1;
			c->year++;
			c->year_start = c->days;
		}
		c->month_start = c->days;
	}
	c->weekday = (c->weekday + 1) % 7;
	if (c->weekday == 0)
		next_week(c);
}

/* By text for the weeks, by microseconds for the rest. */
static int64_t start_of(enum period_method method, const struct calendar *c)
{
	struct period_rule rule = { .method = method };
	char text[48];
	const char *why;
	int64_t start_s = INT64_MIN,
		usecs = (c->days * 86400 + c->days % 86400 - 946684800) * 1000000 +
		c->days % 1000000;

	if (c->days < 0)        /* keep to that day */
		usecs = (c->days * 86400 + 86399 - 946684800) * 1000000 + 999999;
	if (method != PERIOD_WEEKLY) {
		period_of_usecs(&rule, usecs, &start_s, &why);
		return start_s;
	}
	snprintf(text, sizeof text, "%04d-%02d-%02d", c->year, c->month, c->day);
	period_of_text(&rule, span_of(text), &start_s, &why);
	return start_s;
}

static void note_wrong(struct buf *got, const char *what, const struct calendar *c)
{
	if (got->len == 0)
		buf_fmt(got, "%s of %04d-%02d-%02d", what, c->year, c->month, c->day);
}

static void check_suffixes(struct buf *got, const struct calendar *c)
{
	struct period_rule rule = { .method = PERIOD_WEEKLY };
	char suffix[PERIOD_SUFFIX_MAX];
	struct buf wanted = { 0 };

	period_suffix(&rule, (c->days - c->weekday) * 86400, suffix);
	buf_fmt(&wanted, "_%04d_w%02d", c->week_year, c->week);
	if (strcmp(suffix, buf_cstr(&wanted)) != 0)
		note_wrong(got, "weekly suffix", c);
	wanted.len = 0;
	rule.method = PERIOD_DAILY;
	period_suffix(&rule, c->days * 86400, suffix);
	buf_fmt(&wanted, "_%04d_%02d_%02d", c->year, c->month, c->day);
	if (strcmp(suffix, buf_cstr(&wanted)) != 0)
		note_wrong(got, "daily suffix", c);
	buf_free(&wanted);
}

static void test_every_day(void)
{
	struct calendar c = { -719162, 1, 1, 1, 0, 1, 1, -719162, -719162 };
	struct buf got = { 0 };

	for (; c.year <= 9999; next_day(&c)) {
		if (start_of(PERIOD_DAILY, &c) != c.days * 86400)
			note_wrong(&got, "day", &c);
		if (start_of(PERIOD_MONTHLY, &c) != c.month_start * 86400)
			note_wrong(&got, "month", &c);
		if (start_of(PERIOD_YEARLY, &c) != c.year_start * 86400)
			note_wrong(&got, "year", &c);
		/* around the ends of years */
		if (c.month % 11 == 1 && (c.day < 8 || c.day > 24)) {
			if (start_of(PERIOD_WEEKLY, &c) != (c.days - c.weekday) * 86400)
				note_wrong(&got, "week", &c);
			check_suffixes(&got, &c);
		}
	}
	check_int("the calendar's last day", c.days, 2932897);
	check_buf("", span_of("every day of the years 1 to 9999: the first that is wrong"), &got,
		"");
	buf_free(&got);
}

/* The end of a period is the start of the next, and its last moment is still in it. */
static void test_ends(void)
{
	struct buf got = { 0 };

	for (enum period_method m = PERIOD_YEARLY; m <= PERIOD_HOURLY; m++)
		for (int64_t at_s = 946684800; at_s < 946684800 + INT64_C(86400) * 1500;
		    at_s += 5 * 3600 + 1) {
			struct period_rule rule = { .method = m };
			int64_t start_s, end_s, last_s, next_s;
			const char *why;
			period_of_usecs(&rule, (at_s - 946684800) * 1000000, &start_s, &why);
			end_s = period_end(&rule, start_s);
			period_of_usecs(&rule, (end_s - 946684800) * 1000000 - 1, &last_s, &why);
			period_of_usecs(&rule, (end_s - 946684800) * 1000000, &next_s, &why);
			if ((start_s > at_s || at_s >= end_s || last_s != start_s ||
			    next_s != end_s) && got.len == 0)
				buf_fmt(&got, "%s at %" PRId64, method_name[m], at_s);
		}
	check_buf("", span_of("ends of periods: the first that is wrong"), &got, "");
	buf_free(&got);
}

/* ---- moments of the server */

static const struct {
	enum period_method method;
	const char *zone;
	int64_t usecs;
	const char *wanted;
} moments[] = {
	{ PERIOD_DAILY, "text", 0, "_2000_01_01 [2000-01-01, 2000-01-02)" },
	{ PERIOD_DAILY, "text", -1, "_1999_12_31 [1999-12-31, 2000-01-01)" },
	{ PERIOD_HOURLY, "text", 3599999999, "_2000_01_01_00 [2000-01-01 00:00:00, 2000-01-01"
		" 01:00:00)" },
	{ PERIOD_HOURLY, "text", 3600000000, "_2000_01_01_01 [2000-01-01 01:00:00, 2000-01-01"
		" 02:00:00)" },
	{ PERIOD_DAILY, "UTC", 0, "_2000_01_01 [2000-01-01 00:00:00+00:00, 2000-01-02"
		" 00:00:00+00:00)" },
	{ PERIOD_DAILY, "-01", 0, "_1999_12_31 [1999-12-31 00:00:00-01:00, 2000-01-01"
		" 00:00:00-01:00)" },
	{ PERIOD_HOURLY, "+05:45", 0, "_2000_01_01_05 [2000-01-01 05:00:00+05:45, 2000-01-01"
		" 06:00:00+05:45)" },
	{ PERIOD_YEARLY, "text", INT64_C(-63082281600000000), "_0001 [0001-01-01, 0002-01-01)" },
	{ PERIOD_YEARLY, "text", INT64_C(-63082281600000001), "!" NO_YEAR },
	{ PERIOD_YEARLY, "-01", INT64_C(-63082281600000000), "!" NO_YEAR },
	{ PERIOD_YEARLY, "text", INT64_C(252455615999999999), "_9999 [9999-01-01, 10000-01-01)" },
	{ PERIOD_YEARLY, "text", INT64_C(252455616000000000), "!" NO_YEAR },
	{ PERIOD_YEARLY, "+01", INT64_C(252455615999999999), "!" NO_YEAR },
	{ PERIOD_DAILY, "text", INT64_MAX, "!" NO_YEAR },
	{ PERIOD_DAILY, "text", INT64_MIN, "!" NO_YEAR },
	{ PERIOD_DAILY, "+15:59", INT64_MAX, "!" NO_YEAR },
	{ PERIOD_DAILY, "-15:59", INT64_MIN, "!" NO_YEAR },
};

static void test_moments(void)
{
	struct buf got = { 0 };
	char name[80];
	int64_t start_s;
	const char *why;

	for (size_t i = 0; i < COUNT(moments); i++) {
		struct period_rule rule = rule_of(moments[i].method, moments[i].zone);
		if (period_of_usecs(&rule, moments[i].usecs, &start_s, &why) < 0)
			buf_fmt(&got, "!%s", why);
		else
			describe(&got, &rule, start_s);
		snprintf(name, sizeof name, "%s %s %" PRId64, method_name[moments[i].method],
			moments[i].zone, moments[i].usecs);
		check_buf("moment", span_of(name), &got, moments[i].wanted);
	}
	buf_free(&got);
}

/* ---- part_timezone */

/* 99: refused; 77: it may be a zone's name */
static const struct { const char *text; int offset_s; } zones[] = {
	{ "UTC", 0 }, { "+00", 0 }, { "-00:00", 0 }, { "+02", 7200 }, { "+02:00", 7200 },
	{ "-05:00", -18000 },
	{ "+05:45", 20700 }, { "-03:30", -12600 }, { "+14:00", 50400 }, { "-12", -43200 },
	{ "", 99 }, { "utc", 77 }, { "UTC ", 99 }, { "Z", 77 }, { "GMT", 77 }, { "Text", 77 },
	{ "text ", 99 },
	{ "Europe/Berlin", 77 }, { "UTC+2", 77 }, { "2", 99 }, { "02:00", 99 }, { "+2", 99 },
	{ "+", 99 },
	{ "+02:", 99 }, { "+02:0", 99 }, { "+02:60", 99 }, { "+16", 99 }, { "+99", 99 },
	{ "+02:00:30", 99 },
	{ "+02:00Z", 99 }, { " +02", 99 }, { "+02 ", 99 }, { "+-2", 99 }, { "--02", 99 },
};

static void test_zones(void)
{
	char got[40], wanted[40];

	for (size_t i = 0; i < COUNT(zones); i++) {
		struct period_rule rule = { .zone_s = 12345 };
		bool ok = period_zone(&rule, zones[i].text);
		snprintf(got, sizeof got, ok ? "%s %d" : "refused", rule.named ? "named" :
			rule.zoned ? "zoned" : "as written", rule.zone_s);
		snprintf(wanted, sizeof wanted, zones[i].offset_s == 99 ? "refused" :
			zones[i].offset_s == 77 ? "named 0" : "zoned %d", zones[i].offset_s);
		check_span("zone", span_of(zones[i].text), span_of(got), span_of(wanted));
	}
	struct period_rule rule = { .zoned = true, .zone_s = 7200 };
	check_int("zone text is known", period_zone(&rule, "text"), 1);
	check_int("zone text: as written", rule.zoned, 0);
	check_int("zone text: no offset stays", rule.zone_s, 0);
}

static void test_suffix_length(void)
{
	char suffix[PERIOD_SUFFIX_MAX];

	for (enum period_method m = PERIOD_NONE; m <= PERIOD_HOURLY; m++) {
		struct period_rule rule = { .method = m };
		period_suffix(&rule, 946684800, suffix);
		check_span("suffix's length", span_of(method_name[m]),
			(struct span){ "0123456789abcdef", strlen(suffix) },
			(struct span){ "0123456789abcdef", period_suffix_len(m) });
	}
}

/* ---- from a suffix back to its period */

static void test_suffixes_back(void)
{
	struct buf got = { 0 };
	char suffix[PERIOD_SUFFIX_MAX];
	int64_t wanted_s, start_s = 0;
	const char *why;

	for (enum period_method m = PERIOD_YEARLY; m <= PERIOD_HOURLY; m++)
		for (int64_t at_s = INT64_C(-62135596800); at_s < INT64_C(253402300800);
		    at_s += 37 * 86400 + 3601) {
			struct period_rule rule = rule_of(m, at_s % 7 ? "text" : "-03:30");
			period_of_clock(&rule, at_s, &wanted_s, &why);
			period_suffix(&rule, wanted_s, suffix);
			if ((!period_of_suffix(&rule, span_of(suffix), &start_s) ||
			    start_s != wanted_s) && got.len == 0)
				buf_fmt(&got, "%s %s", method_name[m], suffix);
		}
	check_buf("", span_of("suffixes back to their periods: the first that is wrong"), &got, "");
	buf_free(&got);
}

static const struct {
	enum period_method method;
	struct span suffix;
	bool wanted;
} suffixes[] = {
	{ PERIOD_DAILY, TEXT("_2024_02_29"), true },
	{ PERIOD_DAILY, TEXT("_2026_02_29"), false }, { PERIOD_DAILY, TEXT("_2026_00_01"), false },
	{ PERIOD_DAILY, TEXT("_2026_13_01"), false }, { PERIOD_DAILY, TEXT("_2026_01_00"), false },
	{ PERIOD_DAILY, TEXT("_0000_01_01"), false }, { PERIOD_DAILY, TEXT("_2026_01_1"), false },
	{ PERIOD_DAILY, TEXT("_2026_01_010"), false }, { PERIOD_DAILY, TEXT("_2026-01-01"), false },
	{ PERIOD_DAILY, TEXT("_2026_01_01 "), false }, { PERIOD_DAILY, TEXT("_2026_01_+1"), false },
	{ PERIOD_DAILY, TEXT("_2026_1__01"), false }, { PERIOD_DAILY, TEXT("___________"), false },
	{ PERIOD_DAILY, TEXT("2026_01_011"), false }, { PERIOD_DAILY, TEXT("x2026_01_01"), false },
	{ PERIOD_DAILY, TEXT("_2026_01_0\0"), false }, { PERIOD_DAILY, TEXT(""), false },
	{ PERIOD_DAILY, TEXT("_2026_01"), false }, { PERIOD_DAILY, TEXT("_2026_w07"), false },
	{ PERIOD_DAILY, TEXT("_2026_01_01_00"), false },
	{ PERIOD_DAILY, TEXT("_x_2026_01_01"), false },
	{ PERIOD_MONTHLY, TEXT("_2026_12"), true }, { PERIOD_MONTHLY, TEXT("_2026_13"), false },
	{ PERIOD_MONTHLY, TEXT("_2026_00"), false }, { PERIOD_MONTHLY, TEXT("_2026_1x"), false },
	{ PERIOD_YEARLY, TEXT("_2026"), true }, { PERIOD_YEARLY, TEXT("_0000"), false },
	{ PERIOD_YEARLY, TEXT("_202x"), false }, { PERIOD_YEARLY, TEXT("_old1"), false },
	{ PERIOD_WEEKLY, TEXT("_2026_w53"), true }, { PERIOD_WEEKLY, TEXT("_2025_w53"), false },
	{ PERIOD_WEEKLY, TEXT("_2026_w00"), false }, { PERIOD_WEEKLY, TEXT("_2026_w54"), false },
	{ PERIOD_WEEKLY, TEXT("_2026_W01"), false }, { PERIOD_WEEKLY, TEXT("_2026_w1x"), false },
	{ PERIOD_WEEKLY, TEXT("_2026_001"), false }, { PERIOD_WEEKLY, TEXT("_0001_w01"), true },
	{ PERIOD_WEEKLY, TEXT("_9999_w99"), false }, { PERIOD_WEEKLY, TEXT("_9999_w52"), true },
	{ PERIOD_HOURLY, TEXT("_2026_01_31_23"), true },
	{ PERIOD_HOURLY, TEXT("_2026_01_31_24"), false },
	{ PERIOD_HOURLY, TEXT("_2026_01_31_9x"), false },
	{ PERIOD_HOURLY, TEXT("_2026_01_31_-1"), false },
	{ PERIOD_NONE, TEXT(""), false }, { PERIOD_NONE, TEXT("_2026"), false },
};

static void test_suffixes(void)
{
	for (size_t i = 0; i < COUNT(suffixes); i++) {
		struct period_rule rule = { .method = suffixes[i].method };
		int64_t start_s;
		char *exact = unit_exact(suffixes[i].suffix);
		bool ok = period_of_suffix(&rule, (struct span){ exact, suffixes[i].suffix.n },
			&start_s);
		check_span(method_name[rule.method], suffixes[i].suffix, span_of(ok ? "yes" : "no"),
			span_of(suffixes[i].wanted ? "yes" : "no"));
		free(exact);
	}
}

/* ---- ages */

static const struct { const char *age, *at, *wanted; } ages[] = {       /* wanted "": refused */
	{ "1 day", "2026-03-01 10:20", "2026-02-28 10" },
	{ "90 days", "2026-11-22", "2026-08-24 00" },
	{ "48 hours", "2026-01-01 05:59", "2025-12-30 05" },
	{ "1hour", "2026-01-01", "2025-12-31 23" },
	{ "8 weeks", "2026-03-02", "2026-01-05 00" },
	{ "2   weeks", "2026-01-05", "2025-12-22 00" },
	{ "1 month", "2026-03-31 23:00", "2026-02-28 23" },
	{ "1 month", "2024-03-31", "2024-02-29 00" },
	{ "12 months", "2024-02-29", "2023-02-28 00" },
	{ "1 month", "2026-01-31", "2025-12-31 00" },
	{ "13 months", "2026-01-01", "2024-12-01 00" },
	{ "2 months", "2026-12-31", "2026-10-31 00" },
	{ "5 years", "2026-06-15 12:00", "2021-06-15 12" },
	{ "4 years", "2024-02-29", "2020-02-29 00" },
	{ "99999 hours", "2026-01-01", "2014-08-05 09" },
	{ "0 days", "", "" }, { "", "", "" }, { "days", "", "" }, { "90", "", "" },
	{ "-1 day", "", "" },
	{ "100000 days", "", "" }, { "1.5 days", "", "" }, { "90 Days", "", "" },
	{ "90 dayss", "", "" },
	{ "90 days ", "", "" }, { " 90 days", "", "" }, { "90 d", "", "" }, { "3 mon", "", "" },
	{ "1 decade", "", "" }, { "90 days ago", "", "" }, { "1 month 2 days", "", "" },
};

static void test_ages(void)
{
	const struct period_rule hourly = { .method = PERIOD_HOURLY },
		daily = { .method = PERIOD_DAILY };
	struct buf name = { 0 };
	char got[PERIOD_LITERAL_MAX];
	int64_t at_s;
	const char *why;

	for (size_t i = 0; i < COUNT(ages); i++) {
		struct period_age age;
		got[0] = 0;
		if (period_age(&age, ages[i].age) && period_of_text(&hourly, span_of(ages[i].at),
		    &at_s, &why) == 0)
			period_literal(&hourly, period_before(age, at_s), got);
		if (*got)
			got[13] = 0;    /* the hour is enough */
		buf_fmt(&name, "%s before %s", ages[i].age, ages[i].at);
		check_span("age", (struct span){ name.p, name.len }, span_of(got),
			span_of(ages[i].wanted));
		name.len = 0;
	}
	buf_free(&name);
	/* far more than there are years: older than anything, and no overflow */
	struct period_age age = { PERIOD_YEARLY, 99999 };
	period_of_text(&daily, span_of("0001-01-01"), &at_s, &why);
	check_int("99999 years before the year 1", period_before(age, at_s) < at_s, 1);
	at_s = 123456789;
	age = (struct period_age){ PERIOD_MONTHLY, 1 };
	check_int("the second of the day stays", (at_s - period_before(age, at_s)) % 86400, 0);
}

/* ---- dates remembered */

static void test_memo(void)
{
	static const char *const raws[] = {
		"20260131", "2026-01-31", "2026-01-3x", "x026-01-31", "2026-01-311", "2026-01-31 ",
		"aaaaaaaa", "aaaaaaaaa", "aaaaaaaaaaaaaaaa", "2026-01-31+12:00",
	};
	static const char *const never[] = { "", "2026", "2026-01", "2026-01-31+12:00:",
		"2026-01-31 12:34:56" };
	struct period_memo memo = { 0 };
	int64_t got = 0;

	for (size_t i = 0; i < COUNT(raws); i++) {
		check_int("not known yet", period_recall(&memo, span_of(raws[i]), &got), false);
		period_remember(&memo, span_of(raws[i]), (int64_t)i - 3);
		check_int(raws[i], period_recall(&memo, span_of(raws[i]), &got) ? got : -99,
			(int64_t)i - 3);
	}
	for (size_t i = 0; i < COUNT(never); i++) {
		period_remember(&memo, span_of(never[i]), 7);
		check_int(never[i], period_recall(&memo, span_of(never[i]), &got), false);
	}
}

/* Far more texts than there is room for, each its number: none is taken for another one. */
static void test_crowded_memo(const char *format)
{
	struct period_memo memo = { 0 };
	int64_t got = 0, known = 0, wrong = 0;
	char text[24];

	for (int i = 0; i < 4000; i++) {
		snprintf(text, sizeof text, format, i);
		period_remember(&memo, span_of(text), i);
	}
	for (int i = 0; i < 4000; i++) {
		snprintf(text, sizeof text, format, i);
		bool there = period_recall(&memo, span_of(text), &got);
		known += there;
		wrong += there && got != i;
	}
	check_span("taken for another one", span_of(format), span_of(wrong ? "some" : "none"),
		span_of("none"));
	check_span("known", span_of(format), span_of(known > 32 ? "some" : "few"), span_of("some"));
}

int main(void)
{
	test_suffixes_back();
	test_suffixes();
	test_ages();
	test_texts();
	test_weeks();
	test_every_day();
	test_ends();
	test_moments();
	test_zones();
	test_suffix_length();
	test_memo();
	test_crowded_memo("%04d-01-01");
	test_crowded_memo("2026-01-01+%04d");
	test_crowded_memo("%08d");
	return unit_end();
}

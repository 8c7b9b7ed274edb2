/*
 * Fuzzes dates against a regular expression and the C library's calendar. The input is a byte for
 * the method, part_timezone up to a newline, and the date's text.
 */
#include <regex.h>
#include <time.h>

#include "../../event/period.c"
#include "fuzz.h"

#define DATE "([0-9]{4})-([0-9]{2})-([0-9]{2})"
#define TIME "([0-9]{2}):([0-9]{2})(:([0-9]{2})([.]([0-9]+))?)?"
#define OFFSET "(Z|([+-])([0-9]{2})(:([0-9]{2})(:([0-9]{2}))?|([0-9]{2}))?)?"

static regmatch_t part[20];
static const char *whole;

/* The number in parentheses i of the expression, 0 when nothing is there. */
static int number(int i)
{
	int value = 0;

	for (regoff_t at = part[i].rm_so; at >= 0 && at < part[i].rm_eo; at++)
		value = 10 * value + (whole[at] - '0');
	return value;
}

static bool matches(const char *text)
{
	static regex_t date;
	static bool compiled;

	if (!compiled)
		CHECK(regcomp(&date, "^" DATE "([ T]" TIME OFFSET ")?$", REG_EXTENDED) == 0);
	compiled = true;
	whole = text;
	return regexec(&date, text, 20, part, 0) == 0;
}

/* Is it a date, and which moment, by the rule's clock? */
static bool slow_moment(const struct period_rule *rule, const char *text, int64_t *at_s)
{
	if (!matches(text))
		return false;
	int year = number(1), month = number(2), day = number(3), hour = number(5),
		minute = number(6), second = number(8);
	struct tm tm = { .tm_year = year - 1900, .tm_mon = month - 1, .tm_mday = day };
	*at_s = timegm(&tm);
	if (year < 1 || tm.tm_year != year - 1900 || tm.tm_mon != month - 1 || tm.tm_mday != day)
		return false;
	bool fraction = part[10].rm_so >= 0 &&
		strspn(text + part[10].rm_so, "0") < (size_t)(part[10].rm_eo - part[10].rm_so);
	if (hour > 24 || minute > 59 || second > 60 ||
	    (hour == 24 && (minute || second || fraction)))
		return false;
	*at_s += hour * 3600 + minute * 60 + second;
	if (!rule->zoned && (hour == 24 || second == 60))
		*at_s -= 1;
	minute = number(15) + number(18);
	if (number(13) > 15 || minute > 59 || number(17) > 59)
		return false;
	int offset_s = number(13) * 3600 + minute * 60 + number(17);
	if (rule->zoned && part[11].rm_so >= 0)
		*at_s += rule->zone_s - (part[12].rm_so >= 0 && text[part[12].rm_so] == '-' ?
			-offset_s : offset_s);
	return true;
}

static int64_t slow_start(const struct period_rule *rule, int64_t at_s)
{
	time_t t = at_s;
	struct tm tm;

	CHECK(gmtime_r(&t, &tm));
	tm.tm_sec = tm.tm_min = 0;
	if (rule->method != PERIOD_HOURLY)
		tm.tm_hour = 0;
	if (rule->method == PERIOD_WEEKLY)
		tm.tm_mday -= (tm.tm_wday + 6) % 7;
	if (rule->method == PERIOD_MONTHLY || rule->method == PERIOD_YEARLY)
		tm.tm_mday = 1;
	if (rule->method == PERIOD_YEARLY)
		tm.tm_mon = 0;
	return timegm(&tm);
}

/* Both ends of a period as text are the first moments of it and of the next one. */
static void check_literal(const struct period_rule *rule, int64_t at_s)
{
	char text[PERIOD_LITERAL_MAX];
	const char *why;
	int64_t start_s;

	period_literal(rule, at_s, text);
	CHECK(strlen(text) < sizeof text);
	if (at_s < YEAR_10000_S)
		CHECK(period_of_text(rule, span_of(text), &start_s, &why) == 0 && start_s == at_s);
}

static void check_period(const struct period_rule *rule, int64_t start_s, int64_t at_s)
{
	int64_t end_s = period_end(rule, start_s), next_s;
	char suffix[PERIOD_SUFFIX_MAX], next[PERIOD_SUFFIX_MAX];
	const char *why;

	CHECK(start_s == slow_start(rule, at_s));
	CHECK(start_s <= at_s && at_s < end_s);
	period_suffix(rule, start_s, suffix);
	CHECK(strlen(suffix) == period_suffix_len(rule->method));
	check_literal(rule, start_s);
	check_literal(rule, end_s);
	if (period_of_clock(rule, end_s, &next_s, &why) == 0) {
		period_suffix(rule, next_s, next);
		CHECK(next_s == end_s && (rule->method == PERIOD_NONE || strcmp(suffix, next) < 0));
	}
	int64_t usecs = (at_s - YEAR_2000_S - (rule->zoned ? rule->zone_s : 0)) * 1000000 + 999999;
	CHECK(period_of_usecs(rule, usecs, &next_s, &why) == 0 && next_s == start_s);
}

static void check_text(const struct period_rule *rule, struct span text)
{
	char *c_text = mem_str(text.p, text.n);
	const char *why = NULL;
	int64_t start_s = 0, at_s = 0;
	int rc = period_of_text(rule, text, &start_s, &why);
	bool is_moment = !memchr(c_text, 0, text.n) && slow_moment(rule, c_text, &at_s);

	CHECK((rc == 0) == (is_moment && at_s >= YEAR_1_S && at_s < YEAR_10000_S));
	if (rc == 0)
		check_period(rule, start_s, at_s);
	else
		CHECK(why && *why);
	free(c_text);
}

/* Numbers, by those of 128 bits. */
static void check_number(int64_t step, struct span text)
{
	struct period_rule rule = { .method = PERIOD_NUMBER, .step = step };
	size_t at = text.n && strchr("+-", *text.p) && *text.p;
	__int128 value = 0;
	char suffix[PERIOD_SUFFIX_MAX];
	int64_t start = 0, again = 0;
	const char *why = NULL;
	bool is_number = text.n > at;

	for (size_t i = at; i < text.n && is_number; i++) {
		is_number = text.p[i] >= '0' && text.p[i] <= '9';
		if (value < (__int128)1 << 100)
			value = value * 10 + (text.p[i] - '0');
	}
	value = at && *text.p == '-' ? -value : value;
	__int128 first = value / step * step - (value % step < 0 ? step : 0);
	bool fits = is_number && value >= INT64_MIN && value <= INT64_MAX && first >= INT64_MIN &&
		first + step <= INT64_MAX;
	CHECK((number_of_text(&rule, text, &start, &why) == 0) == fits);
	CHECK(fits || (why && *why));
	if (!fits)
		return;
	CHECK(start == (int64_t)first && number_has_next(&rule, start) ==
		(first + 2 * (__int128)step <= INT64_MAX));
	period_suffix(&rule, start, suffix);
	CHECK(strlen(suffix) >= period_suffix_min(PERIOD_NUMBER) &&
		strlen(suffix) <= period_suffix_len(PERIOD_NUMBER));
	CHECK(period_of_suffix(&rule, span_of(suffix), &again) && again == start);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span rest = { (const char *)data, size };
	struct period_rule rule = { .method = fuzz_byte(&rest) % (PERIOD_HOURLY + 1) };
	struct span zone = fuzz_part(&rest, '\n'), text = fuzz_copy(rest.p, rest.n);
	char *c_zone = mem_str(zone.p, zone.n);

	if (period_zone(&rule, c_zone)) {
		CHECK(rule.zone_s % 60 == 0 && abs(rule.zone_s) < 16 * HOUR_S);
		check_text(&rule, text);
	}
	if (period_method(&rule, c_zone) && rule.method == PERIOD_NUMBER)
		check_number(rule.step, text);
	free(c_zone);
	fuzz_free(text);
	return 0;
}

/*
 * From a date to the period, whose partition takes the row, and to its name and bounds.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "private.h"

#define YEAR_2000_S INT64_C(946684800)
#define YEAR_1_S INT64_C(-62135596800)          /* 0001-01-01 */
#define YEAR_10000_S INT64_C(253402300800)      /* 10000-01-01 */

static int64_t days_of_next_month(int64_t year, int month)
{
	return month == 12 ? date_days(year + 1, 1, 1) : date_days(year, month + 1, 1);
}

int period_of_clock(const struct period_rule *rule, int64_t at_s, int64_t *start_s,
	const char **why)
{
	int64_t days = date_floor(at_s, DAY_S);
	int year, month, day;

	if (at_s < YEAR_1_S || at_s >= YEAR_10000_S) {
		*why = "it is outside the years 1 to 9999";
		return -1;
	}
	switch (rule->method) {
	case PERIOD_YEARLY:
	case PERIOD_MONTHLY:
		date_of_days(days, &year, &month, &day);
		days = date_days(year, rule->method == PERIOD_YEARLY ? 1 : month, 1);
		break;
	case PERIOD_WEEKLY:
		days -= (days + 3) - date_floor(days + 3, 7) * 7;  /* 1970-01-01: a Thursday */
		break;
	case PERIOD_HOURLY:
		*start_s = date_floor(at_s, HOUR_S) * HOUR_S;
		return 0;
	case PERIOD_DAILY:
	case PERIOD_NONE:
	case PERIOD_LIST:
	case PERIOD_NUMBER:
		break;
	}
	*start_s = days * DAY_S;
	return 0;
}

int period_of_text(const struct period_rule *rule, struct span text, int64_t *start_s,
	const char **why)
{
	struct moment m;

	*why = "it is no ISO date (YYYY-MM-DD, optionally with a time and an offset)";
	if (!date_parse(text, &m))
		return -1;
	int64_t at_s = m.days * DAY_S + m.second_of_day;
	if (rule->zoned && m.has_offset)
		at_s += rule->zone_s - m.offset_s;
	if (!rule->zoned && m.carries)
		at_s--;
	return period_of_clock(rule, at_s, start_s, why);
}

int period_of_usecs(const struct period_rule *rule, int64_t usecs, int64_t *start_s,
	const char **why)
{
	int64_t at_s = date_floor(usecs, 1000000) + YEAR_2000_S;

	return period_of_clock(rule, at_s + (rule->zoned ? rule->zone_s : 0), start_s, why);
}

/* A text of 8 to 16 bytes as two overlapping words: with the length they identify it. */
static bool memo_place(struct span raw, uint64_t *first, uint64_t *last, size_t *i)
{
	if (raw.n < 8 || raw.n > 16)
		return false;
	memcpy(first, raw.p, 8);
	memcpy(last, raw.p + raw.n - 8, 8);
	*i = ((*first ^ *last * 31) * UINT64_C(0x9e3779b97f4a7c15)) >> (64 - PERIOD_MEMO_BITS);
	return true;
}

void period_remember(struct period_memo *memo, struct span raw, int64_t start_s)
{
	uint64_t first, last;
	size_t i;

	if (!memo_place(raw, &first, &last, &i))
		return;
	memo->at[i].first = first;
	memo->at[i].last = last;
	memo->at[i].n = raw.n;
	memo->at[i].start_s = start_s;
}

bool period_recall(const struct period_memo *memo, struct span raw, int64_t *start_s)
{
	uint64_t first, last;
	size_t i;

	if (!memo_place(raw, &first, &last, &i) || memo->at[i].first != first ||
	    memo->at[i].last != last || memo->at[i].n != raw.n)
		return false;
	*start_s = memo->at[i].start_s;
	return true;
}

static int64_t next_start(const struct period_rule *rule, int64_t start_s)
{
	int64_t days = date_floor(start_s, DAY_S);
	int year, month, day;

	date_of_days(days, &year, &month, &day);
	switch (rule->method) {
	case PERIOD_YEARLY:
		return date_days(year + 1, 1, 1) * DAY_S;
	case PERIOD_MONTHLY:
		return days_of_next_month(year, month) * DAY_S;
	case PERIOD_WEEKLY:
		return start_s + 7 * DAY_S;
	case PERIOD_HOURLY:
		return start_s + HOUR_S;
	case PERIOD_LIST:
		return start_s + 1;
	case PERIOD_NUMBER:
		return start_s + rule->step;
	case PERIOD_DAILY:
	case PERIOD_NONE:
		break;
	}
	return start_s + DAY_S;
}

bool period_is_empty(const struct period_rule *rule, int64_t start_s)
{
	const struct zone_bound *from = rule->zone ? zone_find(rule->zone, start_s) : NULL;
	const struct zone_bound *to = from ? zone_find(rule->zone, next_start(rule, start_s)) :
		NULL;

	return to && from->at_s >= to->at_s;
}

int64_t period_end(const struct period_rule *rule, int64_t start_s)
{
	do
		start_s = next_start(rule, start_s);
	while (period_is_empty(rule, start_s));
	return start_s;
}

/* Of a list's value or of a range of numbers. */
static void suffix_of_value(const struct period_rule *rule, int64_t start,
	char out[PERIOD_SUFFIX_MAX])
{
	if (rule->method == PERIOD_LIST)
		snprintf(out, PERIOD_SUFFIX_MAX, "_%s", rule->list->value[start]);
	else
		snprintf(out, PERIOD_SUFFIX_MAX, "_%s%" PRIu64, start < 0 ? "m" : "",
			start < 0 ? -(uint64_t)start : (uint64_t)start);
}

void period_suffix(const struct period_rule *rule, int64_t start_s, char out[PERIOD_SUFFIX_MAX])
{
	int64_t days = date_floor(start_s, DAY_S);
	int year, month, day, unused;

	if (rule->method == PERIOD_LIST || rule->method == PERIOD_NUMBER) {
		suffix_of_value(rule, start_s, out);
		return;
	}
	date_of_days(days, &year, &month, &day);
	unsigned y = (unsigned)year % 10000, m = (unsigned)month % 100, d = (unsigned)day % 100;
	unsigned h = (unsigned)((start_s - days * DAY_S) / HOUR_S) % 100;
	switch (rule->method) {
	case PERIOD_YEARLY:
		snprintf(out, PERIOD_SUFFIX_MAX, "_%04u", y);
		break;
	case PERIOD_MONTHLY:
		snprintf(out, PERIOD_SUFFIX_MAX, "_%04u_%02u", y, m);
		break;
	case PERIOD_WEEKLY:     /* the ISO year is that of the week's Thursday */
		date_of_days(days + 3, &year, &unused, &unused);
		snprintf(out, PERIOD_SUFFIX_MAX, "_%04u_w%02u", (unsigned)year % 10000,
			(unsigned)((days + 3 - date_days(year, 1, 1)) / 7 + 1) % 100);
		break;
	case PERIOD_DAILY:
		snprintf(out, PERIOD_SUFFIX_MAX, "_%04u_%02u_%02u", y, m, d);
		break;
	case PERIOD_HOURLY:
		snprintf(out, PERIOD_SUFFIX_MAX, "_%04u_%02u_%02u_%02u", y, m, d, h);
		break;
	case PERIOD_NONE:
	case PERIOD_LIST:
	case PERIOD_NUMBER:
		out[0] = 0;
		break;
	}
}

/* Parses loosely, then makes the suffix again: it must be the same. */
static bool date_of_suffix(const struct period_rule *rule, struct span suffix, int64_t *start_s)
{
	const struct period_rule plain = { .method = rule->method };
	char text[] = "YYYY-01-01 00:00", again[PERIOD_SUFFIX_MAX];
	bool weekly = rule->method == PERIOD_WEEKLY;
	const char *why;

	if (suffix.n == 0 || suffix.n != period_suffix_len(rule->method))
		return false;
	for (size_t i = 1; i < (weekly ? 5 : suffix.n); i++)
		if (suffix.p[i] != '_')
			text[i - 1] = suffix.p[i];
	if (weekly)
		text[9] = '4';          /* 4 January is always in the first week */
	if (period_of_text(&plain, span_of(text), start_s, &why) < 0)
		return false;
	if (weekly)
		*start_s += ((suffix.p[7] - '0') * 10 + (suffix.p[8] - '0') - 1) * 7 * DAY_S;
	period_suffix(&plain, *start_s, again);
	return span_is(suffix, again);
}

static bool number_of_suffix(const struct period_rule *rule, struct span suffix, int64_t *start)
{
	char text[PERIOD_SUFFIX_MAX], again[PERIOD_SUFFIX_MAX];
	bool minus = suffix.n > 1 && suffix.p[1] == 'm';

	if (suffix.n < 2 || suffix.n >= sizeof text)
		return false;
	memcpy(text, suffix.p + 1, suffix.n - 1);
	text[suffix.n - 1] = 0;
	if (minus)
		text[0] = '-';
	errno = 0;
	*start = strtoll(text, NULL, 10);
	period_suffix(rule, *start, again);
	return !errno && span_is(suffix, again) && *start % rule->step == 0;
}

bool period_of_suffix(const struct period_rule *rule, struct span suffix, int64_t *start_s)
{
	if (rule->method == PERIOD_NUMBER)
		return number_of_suffix(rule, suffix, start_s);
	if (rule->method != PERIOD_LIST)
		return date_of_suffix(rule, suffix, start_s);
	struct span value = { suffix.p + 1, suffix.n - 1 };
	if (suffix.n < 2 || *suffix.p != '_' || !list_takes(value))
		return false;
	*start_s = list_number(rule->list, value);
	return true;
}

size_t period_suffix_len(enum period_method method)
{
	static const size_t len[] = {
		[PERIOD_NONE] = 0, [PERIOD_YEARLY] = 5, [PERIOD_MONTHLY] = 8, [PERIOD_WEEKLY] = 9,
		[PERIOD_DAILY] = 11, [PERIOD_HOURLY] = 14, [PERIOD_LIST] = 1 + LIST_VALUE_MAX,
		[PERIOD_NUMBER] = 21,
	};

	return len[method];
}

size_t period_suffix_min(enum period_method method)
{
	return method == PERIOD_LIST || method == PERIOD_NUMBER ? 2 : period_suffix_len(method);
}

const char *period_pattern(enum period_method method)
{
	return method == PERIOD_LIST ? "^_[A-Za-z0-9_]+$" :
		method == PERIOD_NUMBER ? "^_m?[0-9]+$" : "^_[0-9]{4}[w0-9_]*$";
}

/* Appends "+01:00"; zones had seconds before there was standard time. */
static void put_offset(char *out, size_t size, int64_t offset_s)
{
	int s = (int)(offset_s < 0 ? -offset_s : offset_s);
	size_t n = strlen(out);

	n += (size_t)snprintf(out + n, size - n, "%c%02d:%02d", offset_s < 0 ? '-' : '+',
		s / HOUR_S, s % HOUR_S / 60);
	if (s % 60)
		snprintf(out + n, size - n, ":%02d", s % 60);
}

/* Of a list's value or a number. */
static void literal_of_value(const struct period_rule *rule, int64_t at,
	char out[PERIOD_LITERAL_MAX])
{
	if (rule->method == PERIOD_LIST)
		snprintf(out, PERIOD_LITERAL_MAX, "%s", rule->list->value[at]);
	else
		snprintf(out, PERIOD_LITERAL_MAX, "%" PRId64, at);
}

void period_literal(const struct period_rule *rule, int64_t at_s, char out[PERIOD_LITERAL_MAX])
{
	int64_t days = date_floor(at_s, DAY_S);
	const struct zone_bound *bound = rule->zone ? zone_find(rule->zone, at_s) : NULL;
	int year, month, day;

	if (rule->method == PERIOD_LIST || rule->method == PERIOD_NUMBER) {
		literal_of_value(rule, at_s, out);
		return;
	}
	date_of_days(days, &year, &month, &day);
	int n = snprintf(out, PERIOD_LITERAL_MAX, "%04d-%02d-%02d", year, month, day);
	if (rule->method == PERIOD_HOURLY || rule->zoned)
		snprintf(out + n, PERIOD_LITERAL_MAX - (size_t)n, " %02d:00:00",
			(int)((at_s - days * DAY_S) / HOUR_S));
	if (bound)
		put_offset(out, PERIOD_LITERAL_MAX, at_s - bound->at_s);
	else if (rule->zoned && !rule->zone)
		put_offset(out, PERIOD_LITERAL_MAX, rule->zone_s);
}

/* ---- from the config's text */

bool period_method(struct period_rule *rule, const char *text)
{
	static const char *const words[] = {
		[PERIOD_YEARLY] = "yearly", [PERIOD_MONTHLY] = "monthly",
		[PERIOD_WEEKLY] = "weekly", [PERIOD_DAILY] = "daily", [PERIOD_HOURLY] = "hourly",
		[PERIOD_LIST] = "list", [PERIOD_NUMBER] = "number",
	};
	size_t n = strcspn(text, " \t");
	const char *rest = text + n + strspn(text + n, " \t");
	char *end;

	rule->method = PERIOD_NUMBER;
	while (rule->method != PERIOD_NONE && !span_is((struct span){ text, n },
	       words[rule->method]))
		rule->method--;
	if (rule->method != PERIOD_NUMBER)
		return rule->method != PERIOD_NONE && !*rest;
	errno = 0;
	rule->step = *rest >= '1' && *rest <= '9' ? strtoll(rest, &end, 10) : 0;
	return rule->step > 0 && !errno && !*end;
}

/* As the server's zones are called: Europe/Berlin, Etc/GMT+5. */
static bool is_zone_name(const char *text)
{
	static const char more[] = "0123456789_/+-";

	for (const char *p = text; *p; p++) {
		bool letter = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z');
		if (!letter && (p == text || !strchr(more, *p)))
			return false;
	}
	return *text && strlen(text) < 64;
}

bool period_zone(struct period_rule *rule, const char *text)
{
	const char *p = text, *end = text + strlen(text);

	rule->zone_s = 0;
	rule->zoned = strcmp(text, "text") != 0;
	rule->named = false;
	if (!rule->zoned || strcmp(text, "UTC") == 0)
		return true;
	if (*p != 'Z' && date_offset(&p, end, &rule->zone_s) && p == end)
		return rule->zone_s % 60 == 0;
	rule->zone_s = 0;
	rule->named = is_zone_name(text);
	return rule->named;
}

bool period_age(struct period_age *age, const char *text)
{
	static const char *const units[] = {
		[PERIOD_YEARLY] = "year", [PERIOD_MONTHLY] = "month", [PERIOD_WEEKLY] = "week",
		[PERIOD_DAILY] = "day", [PERIOD_HOURLY] = "hour",
	};
	size_t digits_n = strspn(text, "0123456789");
	const char *word = text + digits_n + strspn(text + digits_n, " ");

	*age = (struct period_age){ PERIOD_NONE, 0 };
	if (digits_n == 0 || digits_n > 5)
		return false;
	for (const char *p = text; p < text + digits_n; p++)
		age->n = 10 * age->n + (*p - '0');
	for (enum period_method m = PERIOD_YEARLY; m <= PERIOD_HOURLY; m++) {
		size_t n = strlen(units[m]);
		if (strncmp(word, units[m], n) == 0 && (!word[n] || strcmp(word + n, "s") == 0))
			age->unit = m;
	}
	return age->n > 0 && age->unit != PERIOD_NONE;
}

/* The same day and time that many months earlier; the last day of a shorter month. */
static int64_t months_before(int64_t at_s, int64_t months)
{
	int64_t days = date_floor(at_s, DAY_S);
	int year, month, day;

	date_of_days(days, &year, &month, &day);
	int64_t all = INT64_C(12) * year + month - 1 - months, y = date_floor(all, 12);
	int m = (int)(all - 12 * y) + 1;
	int64_t then = date_days(y, m, day), next = days_of_next_month(y, m);
	return (then < next ? then : next - 1) * DAY_S + at_s - days * DAY_S;
}

int64_t period_before(struct period_age age, int64_t at_s)
{
	switch (age.unit) {
	case PERIOD_YEARLY:
		return months_before(at_s, 12 * age.n);
	case PERIOD_MONTHLY:
		return months_before(at_s, age.n);
	case PERIOD_WEEKLY:
		return at_s - age.n * 7 * DAY_S;
	case PERIOD_DAILY:
		return at_s - age.n * DAY_S;
	case PERIOD_HOURLY:
	case PERIOD_NONE:
	case PERIOD_LIST:
	case PERIOD_NUMBER:
		break;
	}
	return at_s - age.n * HOUR_S;
}

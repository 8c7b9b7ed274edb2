/*
 * From a date's text to the period, whose partition takes the row, and to its name and bounds. Only
 * ISO dates are accepted: text in another DateStyle must never be mistaken for another day. The
 * calendar is proleptic Gregorian, as the server's.
 */
#include <stdio.h>
#include <string.h>

#include "event.h"

#define DAY_S 86400
#define HOUR_S 3600
#define YEAR_2000_S INT64_C(946684800)
#define YEAR_1_S INT64_C(-62135596800)          /* 0001-01-01 */
#define YEAR_10000_S INT64_C(253402300800)      /* 10000-01-01 */

static int64_t floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

/* Days since 1970-01-01. Counts years from March, so that the leap day is the last. */
static int64_t days_of_date(int64_t year, int month, int day)
{
	int64_t y = month > 2 ? year : year - 1;
	int64_t era = floor_div(y, 400), year_of_era = y - era * 400;
	int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;

	return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 +
		day_of_year - 719468;
}

static int64_t days_of_next_month(int64_t year, int month)
{
	return month == 12 ? days_of_date(year + 1, 1, 1) : days_of_date(year, month + 1, 1);
}

static void date_of_days(int64_t days, int *year, int *month, int *day)
{
	int64_t z = days + 719468, era = floor_div(z, 146097), day_of_era = z - era * 146097;
	int64_t leap_days = day_of_era / 1460 - day_of_era / 36524 + day_of_era / 146096;
	int64_t year_of_era = (day_of_era - leap_days) / 365;
	int64_t new_year = 365 * year_of_era + year_of_era / 4 - year_of_era / 100;
	int64_t day_of_year = day_of_era - new_year;
	int64_t m = (5 * day_of_year + 2) / 153;

	*day = (int)(day_of_year - (153 * m + 2) / 5 + 1);
	*month = (int)(m < 10 ? m + 3 : m - 9);
	*year = (int)(year_of_era + era * 400 + (*month <= 2));
}

/* Reads exactly n digits at *p; -1 if there are fewer. */
static int digits(const char **p, const char *end, int n)
{
	int value = 0;

	if (end - *p < n)
		return -1;
	for (int i = 0; i < n; i++) {
		char c = (*p)[i];
		if (c < '0' || c > '9')
			return -1;
		value = 10 * value + (c - '0');
	}
	*p += n;
	return value;
}

static bool take(const char **p, const char *end, char c)
{
	if (*p == end || **p != c)
		return false;
	(*p)++;
	return true;
}

/* HH[:MM[:SS]] or HHMM after a sign; false: anything else. */
static bool parse_offset(const char **p, const char *end, int *offset_s)
{
	if (take(p, end, 'Z')) {
		*offset_s = 0;
		return true;
	}
	int sign = take(p, end, '-') ? -1 : take(p, end, '+') ? 1 : 0;
	int hour = sign ? digits(p, end, 2) : -1, minute = 0, second = 0;
	if (hour < 0 || hour > 15)
		return false;
	if (take(p, end, ':')) {
		minute = digits(p, end, 2);
		if (take(p, end, ':'))
			second = digits(p, end, 2);
	} else if (*p < end) {
		minute = digits(p, end, 2);
	}
	if (minute < 0 || minute > 59 || second < 0 || second > 59)
		return false;
	*offset_s = sign * (hour * HOUR_S + minute * 60 + second);
	return true;
}

/* HH:MM[:SS[.fraction]]; false: anything else. (The server reads 10:30.5 as ten minutes.) */
static bool parse_time(const char **p, const char *end, struct moment *m)
{
	int hour = digits(p, end, 2), minute = take(p, end, ':') ? digits(p, end, 2) : -1;
	bool has_second = take(p, end, ':');
	int second = has_second ? digits(p, end, 2) : 0;

	if (hour < 0 || hour > 24 || minute < 0 || minute > 59)
		return false;
	if (second < 0 || second > 60 || (hour == 24 && (minute || second)))
		return false;
	m->carries = hour == 24 || second == 60;
	m->exact = !m->carries;
	if (has_second && take(p, end, '.')) {
		const char *start = *p;
		bool zero = true;
		for (int unit_us = 100000; *p < end && **p >= '0' && **p <= '9'; (*p)++) {
			zero = zero && **p == '0';
			m->us += unit_us * (**p - '0');
			unit_us /= 10;
		}
		if (*p == start || (hour == 24 && !zero))
			return false;
		m->exact = m->exact && *p - start <= 6;
	}
	m->second_of_day = hour * HOUR_S + minute * 60 + second;
	return true;
}

static bool parse_date(const char **p, const char *end, int64_t *days)
{
	static const int month_days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	int year = digits(p, end, 4);
	int month = year >= 0 && take(p, end, '-') ? digits(p, end, 2) : -1;
	int day = month >= 0 && take(p, end, '-') ? digits(p, end, 2) : -1;

	if (year < 1 || month < 1 || month > 12 || day < 1)
		return false;
	bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
	if (day > month_days[month - 1] + (month == 2 && leap))
		return false;
	*days = days_of_date(year, month, day);
	return true;
}

int period_of_clock(const struct period_rule *rule, int64_t at_s, int64_t *start_s,
	const char **why)
{
	int64_t days = floor_div(at_s, DAY_S);
	int year, month, day;

	if (at_s < YEAR_1_S || at_s >= YEAR_10000_S) {
		*why = "it is outside the years 1 to 9999";
		return -1;
	}
	switch (rule->method) {
	case PERIOD_YEARLY:
	case PERIOD_MONTHLY:
		date_of_days(days, &year, &month, &day);
		days = days_of_date(year, rule->method == PERIOD_YEARLY ? 1 : month, 1);
		break;
	case PERIOD_WEEKLY:
		days -= (days + 3) - floor_div(days + 3, 7) * 7;  /* 1970-01-01: a Thursday */
		break;
	case PERIOD_HOURLY:
		*start_s = floor_div(at_s, HOUR_S) * HOUR_S;
		return 0;
	case PERIOD_DAILY:
	case PERIOD_NONE:
		break;
	}
	*start_s = days * DAY_S;
	return 0;
}

bool period_moment(struct span text, struct moment *m)
{
	const char *p = text.p, *end = p + text.n;

	*m = (struct moment){ .exact = true };
	if (!parse_date(&p, end, &m->days))
		return false;
	if (p == end)
		return true;
	m->has_time = true;
	bool has_letter = *p == 'T' || end[-1] == 'Z';
	if ((!take(&p, end, ' ') && !take(&p, end, 'T')) || !parse_time(&p, end, m))
		return false;
	m->exact = m->exact && !has_letter;
	if (p < end && !(m->has_offset = parse_offset(&p, end, &m->offset_s)))
		return false;
	return p == end;
}

int period_of_text(const struct period_rule *rule, struct span text, int64_t *start_s,
	const char **why)
{
	struct moment m;

	*why = "it is no ISO date (YYYY-MM-DD, optionally with a time and an offset)";
	if (!period_moment(text, &m))
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
	int64_t at_s = floor_div(usecs, 1000000) + YEAR_2000_S;

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

int64_t period_end(const struct period_rule *rule, int64_t start_s)
{
	int64_t days = floor_div(start_s, DAY_S);
	int year, month, day;

	date_of_days(days, &year, &month, &day);
	switch (rule->method) {
	case PERIOD_YEARLY:
		return days_of_date(year + 1, 1, 1) * DAY_S;
	case PERIOD_MONTHLY:
		return days_of_next_month(year, month) * DAY_S;
	case PERIOD_WEEKLY:
		return start_s + 7 * DAY_S;
	case PERIOD_HOURLY:
		return start_s + HOUR_S;
	case PERIOD_DAILY:
	case PERIOD_NONE:
		break;
	}
	return start_s + DAY_S;
}

void period_suffix(const struct period_rule *rule, int64_t start_s, char out[PERIOD_SUFFIX_MAX])
{
	int64_t days = floor_div(start_s, DAY_S);
	int year, month, day, unused;

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
			(unsigned)((days + 3 - days_of_date(year, 1, 1)) / 7 + 1) % 100);
		break;
	case PERIOD_DAILY:
		snprintf(out, PERIOD_SUFFIX_MAX, "_%04u_%02u_%02u", y, m, d);
		break;
	case PERIOD_HOURLY:
		snprintf(out, PERIOD_SUFFIX_MAX, "_%04u_%02u_%02u_%02u", y, m, d, h);
		break;
	case PERIOD_NONE:
		out[0] = 0;
		break;
	}
}

/* Parses loosely, then makes the suffix again: it must be the same. */
bool period_of_suffix(const struct period_rule *rule, struct span suffix, int64_t *start_s)
{
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
	if (period_of_text(rule, span_of(text), start_s, &why) < 0)
		return false;
	if (weekly)
		*start_s += ((suffix.p[7] - '0') * 10 + (suffix.p[8] - '0') - 1) * 7 * DAY_S;
	period_suffix(rule, *start_s, again);
	return span_is(suffix, again);
}

size_t period_suffix_len(enum period_method method)
{
	static const size_t len[] = {
		[PERIOD_NONE] = 0, [PERIOD_YEARLY] = 5, [PERIOD_MONTHLY] = 8, [PERIOD_WEEKLY] = 9,
		[PERIOD_DAILY] = 11, [PERIOD_HOURLY] = 14,
	};

	return len[method];
}

void period_literal(const struct period_rule *rule, int64_t at_s, char out[PERIOD_LITERAL_MAX])
{
	int64_t days = floor_div(at_s, DAY_S);
	int year, month, day, zone = rule->zone_s < 0 ? -rule->zone_s : rule->zone_s;

	date_of_days(days, &year, &month, &day);
	int n = snprintf(out, PERIOD_LITERAL_MAX, "%04d-%02d-%02d", year, month, day);
	if (rule->method == PERIOD_HOURLY || rule->zoned)
		n += snprintf(out + n, PERIOD_LITERAL_MAX - (size_t)n, " %02d:00:00",
			(int)((at_s - days * DAY_S) / HOUR_S));
	if (rule->zoned)
		snprintf(out + n, PERIOD_LITERAL_MAX - (size_t)n, "%c%02d:%02d",
			rule->zone_s < 0 ? '-' : '+', zone / HOUR_S, zone % HOUR_S / 60);
}

bool period_zone(struct period_rule *rule, const char *text)
{
	const char *p = text, *end = text + strlen(text);

	rule->zone_s = 0;
	rule->zoned = strcmp(text, "text") != 0;
	if (!rule->zoned || strcmp(text, "UTC") == 0)
		return true;
	return *p != 'Z' && parse_offset(&p, end, &rule->zone_s) && p == end &&
		rule->zone_s % 60 == 0;
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
	int64_t days = floor_div(at_s, DAY_S);
	int year, month, day;

	date_of_days(days, &year, &month, &day);
	int64_t all = INT64_C(12) * year + month - 1 - months, y = floor_div(all, 12);
	int m = (int)(all - 12 * y) + 1;
	int64_t then = days_of_date(y, m, day), next = days_of_next_month(y, m);
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
		break;
	}
	return at_s - age.n * HOUR_S;
}

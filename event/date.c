/*
 * ISO dates and the calendar, proleptic Gregorian as the server's. Text in another DateStyle is
 * refused: it must never be mistaken for another day.
 */
#include "private.h"

/* Counts years from March, so that the leap day is the last. */
int64_t date_days(int64_t year, int month, int day)
{
	int64_t y = month > 2 ? year : year - 1;
	int64_t era = date_floor(y, 400), year_of_era = y - era * 400;
	int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;

	return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 +
		day_of_year - 719468;
}

void date_of_days(int64_t days, int *year, int *month, int *day)
{
	int64_t z = days + 719468, era = date_floor(z, 146097), day_of_era = z - era * 146097;
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

bool date_offset(const char **p, const char *end, int *offset_s)
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
	*days = date_days(year, month, day);
	return true;
}

bool date_parse(struct span text, struct moment *m)
{
	const char *p = text.p, *end = p + text.n;

	*m = (struct moment){ .exact = true };
	if (!parse_date(&p, end, &m->days))
		return false;
	if (p == end)
		return true;
	m->has_time = true;
	m->has_t = *p == 'T';
	bool has_letter = end[-1] == 'Z';
	if ((!take(&p, end, ' ') && !take(&p, end, 'T')) || !parse_time(&p, end, m))
		return false;
	m->exact = m->exact && !has_letter;
	if (p < end && !(m->has_offset = date_offset(&p, end, &m->offset_s)))
		return false;
	return p == end;
}

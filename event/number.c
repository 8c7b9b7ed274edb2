/*
 * Ranges of numbers: the cut of part_method = number N.
 */
#include "private.h"

/* An integer as the server prints one, or with leading zeros or a plus. 1.0 and 1e3 are none. */
static bool parse(struct span text, int64_t *value, const char **why)
{
	size_t sign = text.n && (*text.p == '-' || *text.p == '+');
	bool minus = sign && *text.p == '-';

	*why = "it is no integer";
	*value = 0;
	for (size_t i = sign; i < text.n; i++) {
		int digit = text.p[i] - '0';
		if (digit < 0 || digit > 9)
			return false;
		if (__builtin_mul_overflow(*value, 10, value) ||
		    __builtin_add_overflow(*value, minus ? -digit : digit, value)) {
			*why = "it is no bigint";
			return false;
		}
	}
	return text.n > sign;
}

int number_of_text(const struct period_rule *rule, struct span text, int64_t *start,
	const char **why)
{
	int64_t value, end;

	if (!parse(text, &value, why))
		return -1;
	*why = "its range goes beyond bigint";
	if (__builtin_mul_overflow(date_floor(value, rule->step), rule->step, start) ||
	    __builtin_add_overflow(*start, rule->step, &end))
		return -1;
	return 0;
}

bool number_has_next(const struct period_rule *rule, int64_t start)
{
	return start <= INT64_MAX - rule->step - rule->step;
}

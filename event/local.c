/*
 * Periods in a named zone: from one local midnight to another. The bounds decide: an instant lies
 * in the period between whose bounds it is. Where clocks are put back over a midnight, that need
 * not be the local date.
 *
 * A time without an offset is the instant that the server reads. Of a time that came twice, it
 * takes the second; a time that was left out when clocks were put forward it counts from before.
 * So the date of a time tells its period, but where times around a midnight were left out: what is
 * written there as the day before may be later than that midnight, and the other way round. For
 * these the instant is computed.
 */
#include "event.h"

#define YEAR_2000_S INT64_C(946684800)
#define ASKED 8                         /* midnights in one question */
#define STEPS_MAX 8                     /* from a guess of the period to the right one */

/* The same periods by the calendar alone. */
static struct period_rule calendar(const struct period_rule *rule)
{
	return (struct period_rule){ .method = rule->method, .zoned = true };
}

int local_know(const struct period_rule *rule, int64_t start_s, struct err *e)
{
	const struct period_rule plain = calendar(rule);
	struct zone_bound bound[ASKED];
	int64_t end_s = period_end(&plain, start_s), at_s = start_s;
	const char *why;

	if (!rule->zone || (zone_find(rule->zone, start_s) && zone_find(rule->zone, end_s) &&
	    zone_find(rule->zone, period_end(&plain, end_s))))
		return 0;
	/* with the one before: a guess may be one too late */
	if (period_of_clock(&plain, start_s - 1, &at_s, &why) < 0)
		at_s = start_s;
	for (size_t i = 0; i < ASKED; i++, at_s = period_end(&plain, at_s))
		bound[i] = (struct zone_bound){ .local_s = at_s };
	return zone_ask(rule->zone, bound, ASKED, e);
}

/* Finds the period of an instant, from a guess. */
static int search(const struct period_rule *rule, int64_t at_s, int64_t guess_s, int64_t *start_s,
	const char **why, struct err *e)
{
	const struct period_rule plain = calendar(rule);

	*start_s = guess_s;
	for (int i = 0; i < STEPS_MAX; i++) {
		*why = NULL;
		if (local_know(rule, *start_s, e) < 0)
			return -1;
		int64_t from_s = zone_find(rule->zone, *start_s)->at_s;
		int64_t end_s = period_end(&plain, *start_s);
		int64_t to_s = zone_find(rule->zone, end_s)->at_s;
		if (from_s <= at_s && at_s < to_s) {
			rule->zone->last[rule->method].start_s = *start_s;
			rule->zone->last[rule->method].from_s = from_s;
			rule->zone->last[rule->method].to_s = to_s;
			return 0;
		}
		if (period_of_clock(&plain, at_s < from_s ? *start_s - 1 : end_s, start_s,
		    why) < 0)
			return -1;
	}
	*why = "the server's midnights around it contradict each other";
	return -1;
}

static int of_instant(const struct period_rule *rule, int64_t at_s, int64_t *start_s,
	const char **why, struct err *e)
{
	const struct period_rule plain = calendar(rule);
	struct zone *z = rule->zone;
	int64_t from_s = z->last[rule->method].from_s, to_s = z->last[rule->method].to_s;
	int64_t guess_s;

	*start_s = z->last[rule->method].start_s;
	if (from_s <= at_s && at_s < to_s)
		return 0;
	if (period_of_clock(&plain, at_s + *start_s - from_s, &guess_s, why) < 0)
		return -1;
	return search(rule, at_s, guess_s, start_s, why, e);
}

/* The moment at which clocks were put forward. */
static int64_t gap_at(const struct zone_bound *b)
{
	bool inside = b->local_s < b->gap_local_s + b->gap_s;

	return b->at_s - (inside ? b->local_s - b->gap_local_s : 0);
}

/* Is the local time one of those around the midnight whose date does not tell the period? Then sets
 * its instant. */
static bool is_odd(const struct zone_bound *b, int64_t local_s, int64_t *at_s)
{
	int64_t after_s = local_s - b->gap_local_s;

	if (!b->gap_s || after_s < 0 || after_s >= 2 * b->gap_s)
		return false;
	*at_s = gap_at(b) + after_s - (after_s >= b->gap_s ? b->gap_s : 0);
	return true;
}

static int of_clock(const struct period_rule *rule, int64_t local_s, int64_t *start_s,
	const char **why, struct err *e)
{
	const struct period_rule plain = calendar(rule);
	struct zone *z = rule->zone;
	int64_t at_s;

	if (period_of_clock(&plain, local_s, start_s, why) < 0)
		return -1;
	if (z->plain[rule->method].known && z->plain[rule->method].start_s == *start_s)
		return 0;
	*why = NULL;
	if (local_know(rule, *start_s, e) < 0)
		return -1;
	const struct zone_bound *from = zone_find(z, *start_s);
	const struct zone_bound *to = zone_find(z, period_end(&plain, *start_s));
	if (is_odd(from, local_s, &at_s) || is_odd(to, local_s, &at_s))
		return of_instant(rule, at_s, start_s, why, e);
	if (!from->gap_s && !to->gap_s) {
		z->plain[rule->method].known = true;
		z->plain[rule->method].start_s = *start_s;
	}
	return 0;
}

int local_of_text(const struct period_rule *rule, struct span text, int64_t *start_s,
	const char **why, struct err *e)
{
	struct moment m;

	*why = "it is no ISO date (YYYY-MM-DD, optionally with a time and an offset)";
	if (!date_parse(text, &m))
		return -1;
	int64_t at_s = m.days * DAY_S + m.second_of_day;
	if (m.has_offset)
		return of_instant(rule, at_s - m.offset_s, start_s, why, e);
	return of_clock(rule, at_s, start_s, why, e);
}

int local_of_usecs(const struct period_rule *rule, int64_t usecs, int64_t *start_s,
	const char **why, struct err *e)
{
	return of_instant(rule, date_floor(usecs, 1000000) + YEAR_2000_S, start_s, why, e);
}

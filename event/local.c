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
#include "private.h"

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

/* A memo for the day of that time by the zone's clock, or nearly that. */
static struct local_memo *memo_of(struct zone *z, int64_t local_s)
{
	return &z->memo[date_floor(local_s, DAY_S) & ((1 << ZONE_MEMO_BITS) - 1)];
}

/* The period's bounds are known. */
static void remember(const struct period_rule *rule, int64_t start_s, struct local_memo *memo)
{
	const struct period_rule plain = calendar(rule);
	int64_t end_s = period_end(&plain, start_s);
	const struct zone_bound *from = zone_find(rule->zone, start_s);
	const struct zone_bound *to = zone_find(rule->zone, end_s);

	*memo = (struct local_memo){
		.start_s = start_s, .end_s = end_s, .from_s = from->at_s, .to_s = to->at_s,
		.method = rule->method, .plain = !from->gap_s && !to->gap_s,
	};
}

/* Finds the period of an instant, from a guess. */
static int search(const struct period_rule *rule, int64_t at_s, struct local_memo *memo,
	const char **why, struct err *e)
{
	const struct period_rule plain = calendar(rule);
	int64_t start_s;

	if (period_of_clock(&plain, at_s + rule->zone->offset_s, &start_s, why) < 0)
		return -1;
	for (int i = 0; i < STEPS_MAX; i++) {
		*why = NULL;
		if (local_know(rule, start_s, e) < 0)
			return -1;
		remember(rule, start_s, memo);
		if (memo->from_s <= at_s && at_s < memo->to_s) {
			rule->zone->offset_s = start_s - memo->from_s;
			return 0;
		}
		if (period_of_clock(&plain, at_s < memo->from_s ? start_s - 1 : memo->end_s,
		    &start_s, why) < 0)
			return -1;
	}
	*why = "the server's midnights around it contradict each other";
	return -1;
}

static int of_instant(const struct period_rule *rule, int64_t at_s, int64_t *start_s,
	const char **why, struct err *e)
{
	struct zone *z = rule->zone;
	struct local_memo *memo = memo_of(z, at_s + z->offset_s);

	if ((memo->method != (int)rule->method || at_s < memo->from_s || at_s >= memo->to_s) &&
	    search(rule, at_s, memo, why, e) < 0)
		return -1;
	*start_s = memo->start_s;
	return 0;
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
	struct local_memo *memo = memo_of(z, local_s);
	int64_t at_s;

	*start_s = memo->start_s;
	if (memo->plain && memo->method == (int)rule->method && memo->start_s <= local_s &&
	    local_s < memo->end_s)
		return 0;
	if (period_of_clock(&plain, local_s, start_s, why) < 0)
		return -1;
	*why = NULL;
	if (local_know(rule, *start_s, e) < 0)
		return -1;
	const struct zone_bound *from = zone_find(z, *start_s);
	const struct zone_bound *to = zone_find(z, period_end(&plain, *start_s));
	if (is_odd(from, local_s, &at_s) || is_odd(to, local_s, &at_s))
		return of_instant(rule, at_s, start_s, why, e);
	remember(rule, *start_s, memo);
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

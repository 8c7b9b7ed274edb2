/*
 * Which periods are too old. The target's clock says where part_keep begins. It is compared with
 * the source's clock, from which rows get their dates: a clock that has jumped must not make all
 * partitions old.
 */
#include <string.h>

#include "private.h"

#define APART_S HOUR_S                  /* clocks that differ by this much are not trusted */

/* ---- the servers' clocks */

/* "2038-01-19 03:14 UTC" */
static void add_time(struct buf *text, int64_t at_s)
{
	const struct period_rule rule = { .method = PERIOD_HOURLY };
	char hour[PERIOD_LITERAL_MAX];

	period_literal(&rule, at_s, hour);
	buf_fmt(text, "%.14s%02d UTC", hour, (int)(at_s % HOUR_S / 60));
}

static void warn_apart(int64_t src_s, int64_t dst_s)
{
	struct buf text = { 0 };

	buf_str(&text, "the servers' clocks are an hour or more apart, src_db has ");
	add_time(&text, src_s);
	buf_str(&text, ", dst_db ");
	add_time(&text, dst_s);
	log_warn("%s: until they agree no partition is removed or made ahead of time,"
		" and no row is late", buf_cstr(&text));
	buf_free(&text);
}

/* between_s: seconds from the source's answer to the target's. */
static bool are_apart(int64_t src_s, int64_t dst_s, int64_t between_s)
{
	int64_t ahead_s = dst_s - src_s - between_s;

	return ahead_s >= APART_S || ahead_s <= -APART_S;
}

/* Asks for the server's clock in seconds since 1970: of UTC, and as the rule's named zone shows it,
 * or else the session's. */
static int ask_clock(struct pq *q, const struct period_rule *rule, int64_t *now_s,
	int64_t *local_s, struct err *e)
{
	struct buf sql = { 0 };

	style_add_zone(&sql, rule);
	buf_str(&sql, "SELECT pg_catalog.floor(pg_catalog.date_part('epoch',"
		" pg_catalog.now()))::pg_catalog.int8,"
		" pg_catalog.floor(pg_catalog.date_part('epoch',"
		" LOCALTIMESTAMP))::pg_catalog.int8");
	if (pq_query(q, buf_cstr(&sql), e) == 0) {
		*now_s = pq_int(q, 0, 0, 0);
		*local_s = pq_int(q, 0, 1, 0);
	}
	buf_free(&sql);
	return e->code;
}

int age_look(struct job *j, struct err *e)
{
	const struct dest *any = conf_dest(j->conf, 0);
	const struct period_rule *rule = &(any ? any : &j->conf->dest)->period;
	const struct period_rule utc = { .zoned = true };
	struct clocks *r = &j->clocks;
	int64_t src_s, dst_s, local_s, ignored_s;

	if (style_open(&j->ddl, j->conf, &j->style, e) < 0 ||
	    (j->src && ask_clock(j->src, &utc, &src_s, &ignored_s, e) < 0))
		return e->code;
	int64_t asked_ms = clock_ms();
	if (style_check_zone(j->ddl, j->conf->zone, e) < 0 ||
	    ask_clock(j->ddl, rule, &dst_s, &local_s, e) < 0)
		return e->code;
	r->apart = j->src && are_apart(src_s, dst_s, (clock_ms() - asked_ms) / 1000);
	if (r->apart)
		warn_apart(src_s, dst_s);
	r->now_s = rule->zoned && !rule->zone ? dst_s + rule->zone_s : local_s;
	r->known = true;
	return 0;
}

/* Does the time decide where the destination's rows go? */
static bool is_timed(const struct dest *d)
{
	bool detaches = d->part_keep_action == KEEP_DETACH && d->keep.unit != PERIOD_NONE;

	return d->part_late != PART_LATE_CREATE || detaches;
}

int age_ask(struct job *j, struct err *e)
{
	bool timed = false;

	for (size_t i = 0; conf_dest(j->conf, i); i++)
		timed |= is_timed(conf_dest(j->conf, i));
	return timed && !j->clocks.known ? age_look(j, e) : 0;
}

/* ---- a period, by its start or its partition's name */

int64_t age_kept(const struct job *j, const struct dest *d)
{
	int64_t kept_s = period_before(d->keep, j->clocks.now_s);

	return kept_s - ((kept_s % HOUR_S) + HOUR_S) % HOUR_S;  /* periods end on the hour */
}

bool age_is_old(const struct job *j, const struct dest *d, int64_t start_s)
{
	return d->keep.unit != PERIOD_NONE && j->clocks.known && !j->clocks.apart &&
		period_end(&d->period, start_s) <= age_kept(j, d);
}

bool age_of_name(const struct dest *d, const char *name, int64_t *start_s)
{
	return strncmp(name, d->table.p, d->table.n) == 0 &&
		period_of_suffix(&d->period, span_of(name + d->table.n), start_s);
}

bool age_may_be_loose(const struct job *j, const struct dest *d, struct span partition)
{
	struct span suffix = { partition.p + d->table.n, partition.n - d->table.n };
	int64_t start_s;

	return d->part_keep_action == KEEP_DETACH && d->keep.unit != PERIOD_NONE &&
		j->clocks.known && period_of_suffix(&d->period, suffix, &start_s) &&
		age_is_old(j, d, start_s);
}

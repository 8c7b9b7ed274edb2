/*
 * Partitions made ahead of time, by part_premake. A period whose partition cannot be created is a
 * warning, and no reason to leave out the later ones.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

#define CONFLICT_MS (60 * 1000)         /* while another process creates partitions of the table */
#define LOCK_WAITS 3                    /* for locks in vain, before the rest is left for the next time */
#define WARNED_MAX 10                   /* partitions that cannot be created, told one by one */

void premake_key(struct job *j, struct span ev_type)
{
	const char *colon = ev_type.n ? memchr(ev_type.p, ':', ev_type.n) : NULL;

	if (!j->conf->dest.part_premake || !colon || colon + 1 == ev_type.p + ev_type.n)
		return;
	free(j->retain.ev_type);
	j->retain.ev_type = mem_str(ev_type.p, ev_type.n);
}

bool premake_is_due(const struct job *j)
{
	return j->conf->dest.part_premake && clock_ms() >= j->retain.premake_at_ms &&
		(j->retain.ev_type || !strstr(j->conf->dest.part_template, "_PKEY"));
}

static int make(struct job *j, const struct route *route, int64_t start_s, struct err *e)
{
	struct buf name = { 0 };
	bool created = false;

	part_name(&name, &j->conf->dest, start_s);
	struct part_want want = {
		.dest = &j->conf->dest, .name = { name.p, name.len }, .start_s = start_s,
		.end_s = period_end(&j->conf->dest.period, start_s), .ev_type = span_of(j->retain.ev_type),
		.lock_timeout_ms = RETAIN_LOCK_TIMEOUT_MS, .route = route,
	};
	part_ensure(j->ddl, &want, &created, e);
	if (created)
		watch_partition(j->watch, want.name, true);
	buf_free(&name);
	return e->code;
}

static bool is_locked(const struct err *e)
{
	return e->code == ERR_TIMEOUT || e->code == ERR_CONFLICT;
}

/* Would it fail in the same way for every period? */
static bool is_general(const struct err *e)
{
	return e->code != ERR_SHAPE && e->code != ERR_DATA && !is_locked(e);
}

/* The periods after the current one; *failed of them were not made. */
static int make_all(struct job *j, const struct route *route, int64_t start_s, int *failed,
	struct err *e)
{
	const struct period_rule *rule = &j->conf->dest.period;
	int waits = 0;

	for (int64_t left = j->conf->dest.part_premake; left > 0 && !process_stop_after_batch(); left--) {
		struct err own = { 0 };
		start_s = period_end(rule, start_s);
		if (make(j, route, start_s, &own) == 0)
			continue;
		waits += is_locked(&own);
		if (own.code == ERR_CONFLICT)   /* another process loads and creates: not for an hour */
			j->retain.premake_at_ms = clock_ms() + CONFLICT_MS;
		if (is_general(&own) || waits == LOCK_WAITS)
			return err_set(e, own.code, "%s", own.msg);
		if (++*failed <= WARNED_MAX)
			log_warn("part_premake: %s; it will be tried again", own.msg);
	}
	return 0;
}

int premake_run(struct job *j, const struct route *route, struct err *e)
{
	const struct period_rule *rule = &j->conf->dest.period;
	struct retain *r = &j->retain;
	int64_t start_s;
	const char *why;
	int failed = 0;

	if (r->apart)
		return 0;
	if (period_of_clock(rule, r->now_s, &start_s, &why) < 0)
		return err_set(e, ERR_OTHER, "dst_db: its clock is wrong: %s", why);
	int64_t next_ms = clock_ms() + (period_end(rule, start_s) - r->now_s) * 1000;
	if (make_all(j, route, start_s, &failed, e) < 0)
		return e->code;
	if (failed > WARNED_MAX)
		log_warn("part_premake: %d more partitions cannot be created", failed - WARNED_MAX);
	if (!failed && !process_stop_after_batch())
		r->premake_at_ms = next_ms;
	return 0;
}

/*
 * Partitions that are older than part_keep, and their removal. Only a child of dest_table under the
 * name that part_method makes is touched, and only when nothing in it is young: by its bounds, or
 * where these do not tell, by its rows. In doubt it stays, and a warning says why. Looked at again
 * under its lock, in a short transaction for each.
 *
 * A plain DETACH, not a concurrent one: that cannot be part of a transaction, so its timeout
 * would be the session's, which a pooler hands on to others; it may stop half-way, refuses
 * where there is a default partition, and needs a server from version 14.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

#define LOCK_WAITS 3                    /* for locks in vain, before the rest is left for the next time */
#define ROWS_MS 20000                   /* for looking at rows in one look; the rest is left too */

const char *keep_done(const struct dest *d)
{
	return d->part_keep_action == KEEP_DETACH ? "detached" : "dropped";
}

/* part_field's name in the target; "" where no column picks the partition. */
static struct span column_of(const struct dest *d)
{
	struct span source = dest_part_column(d);

	for (size_t i = 0; i < d->nfield && source.p; i++)
		if (span_eq(d->field[i].source, source))
			return d->field[i].target;
	return source.p ? source : span_of("");
}

bool keep_is_partition(const struct dest *d, const struct child *child, int64_t *start_s)
{
	return child->ordinary && child->found && age_of_name(d, child->name, start_s);
}

static bool is_old(const struct job *j, const struct child *child, int64_t *start_s)
{
	return keep_is_partition(&j->conf->dest, child, start_s) && age_is_old(j, *start_s);
}

static struct child_question question(const struct job *j)
{
	return (struct child_question){
		.q = j->ddl, .rule = &j->conf->dest.period, .column = column_of(&j->conf->dest),
		.kept_s = j->retain.kept_s,
	};
}

/* Its rows are looked at under a lock that lets readers in, and nobody who writes. */
static int judge(struct job *j, const struct child_list *list, struct child *child, bool lock,
	enum child_age *age, struct buf *why, struct err *e)
{
	struct child_question ask = question(j);

	if (child_bounds(&ask, list, child, age, why, e) < 0 || *age != CHILD_UNCLEAR)
		return e->code;
	if (!lock || child_lock(j->ddl, child->table, false, "SHARE", e) == 0)
		child_rows(&ask, child, age, why, e);
	return e->code;
}

int keep_foresee(struct job *j, const struct child_list *list, struct child *child, enum child_age *age,
	struct buf *why, struct err *e)
{
	struct buf sql = { 0 };
	struct err ignored = { 0 };

	buf_str(&sql, "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY;");
	pq_add_settings(&sql, j->ddl, RETAIN_LOCK_TIMEOUT_MS);
	if (pq_query(j->ddl, buf_cstr(&sql), e) == 0)
		judge(j, list, child, false, age, why, e);
	pq_query(j->ddl, "ROLLBACK", &ignored);
	buf_free(&sql);
	return e->code;
}

/* The parent is locked before its partition, as everybody else does: else readers could end in a
 * deadlock. With inheritance nothing of the parent changes. *parent: that lock was had. *same: under
 * both it is the same child still. */
static int take(struct job *j, const struct child_list *list, const struct child *child, bool *parent,
	bool *same, struct err *e)
{
	struct child_list again = { 0 };
	int64_t start_s;

	if (list->declarative && child_lock(j->ddl, list->parent, true, "ACCESS EXCLUSIVE", e) < 0)
		return e->code;
	*parent = true;
	if (child_lock(j->ddl, child->table, false, "ACCESS EXCLUSIVE", e) == 0 &&
	    child_list(j->ddl, &j->conf->dest, child->name, false, &again, e) == 0)
		*same = again.n == 1 && again.at[0].oid == child->oid &&
			again.declarative == list->declarative && is_old(j, &again.at[0], &start_s);
	child_clear(&again);
	return e->code;
}

struct look {                           /* at all that is old */
	struct job *job;
	struct child_list list;
	struct tally stay;              /* in doubt or young: told now, or in an earlier look */
	int waits;                      /* for locks, in vain */
	int64_t end_ms;                 /* no more rows are looked at */
};

/* One warning, as long as it stays. */
static void stays(struct look *l, const struct child *child, const char *why)
{
	const struct job *j = l->job;

	tally_add(&l->stay, child->name, 0);
	if (!tally_find(&j->retain.stay, child->name))
		log_warn("partition %s is older than part_keep = %s by its name, and stays: %s", child->name,
			j->conf->dest.part_keep, why);
}

static void failed(struct look *l, const struct child *child, bool parent, bool judged, struct err *e)
{
	const struct dest *d = &l->job->conf->dest;

	bool lock = sqlstate_is_locked(e->sqlstate);

	if (lock)
		part_say_who(l->job->ddl, d, parent || !judged ? span_of(child->name) : d->table, e);
	if (e->code == ERR_STOP || sqlstate_is_missing_table(e->sqlstate))   /* somebody else dropped it */
		return;
	if (judged || lock || e->code == ERR_CONN || e->code == ERR_RIGHTS)
		log_warn("partition %s is older than part_keep = %s and cannot be %s now: %s;"
			" it will be tried again", child->name, d->part_keep, keep_done(d), e->msg);
	else
		stays(l, child, e->msg);
}

/* 0, or the connection's error. */
static int remove_one(struct look *l, struct child *child)
{
	struct job *j = l->job;
	struct err e = { 0 }, lost = { 0 };
	struct buf sql = { 0 }, why = { 0 };
	enum child_age age = CHILD_UNCLEAR;
	bool parent = false, same = false;

	part_begin(&sql, j->ddl, RETAIN_LOCK_TIMEOUT_MS);
	bool judged = pq_query(j->ddl, buf_cstr(&sql), &e) == 0 &&
		judge(j, &l->list, child, true, &age, &why, &e) == 0;
	if (judged && age == CHILD_OLD && take(j, &l->list, child, &parent, &same, &e) == 0 && same)
		child_remove(j->ddl, &l->list, child, j->conf->dest.part_keep_action == KEEP_DETACH, &e);
	if (same && !e.code)
		log_info("partition %s is older than part_keep = %s: %s", child->name, j->conf->dest.part_keep,
			keep_done(&j->conf->dest));
	else
		pq_query(j->ddl, "ROLLBACK", &lost);
	l->waits += e.code == ERR_TIMEOUT;
	if (!e.code && age != CHILD_OLD)
		stays(l, child, buf_cstr(&why));
	else if (e.code)
		failed(l, child, parent, judged, &e);
	buf_free(&sql);
	buf_free(&why);
	return lost.code;
}

/* Those of which nothing is known come before those that stayed the last time. */
static int remove_all(struct look *l, const struct sink *sink, bool loaded, bool stayed)
{
	struct job *j = l->job;
	int64_t start_s;
	int rc = 0;

	for (size_t i = 0; i < l->list.n && rc == 0; i++) {
		struct child *child = &l->list.at[i];
		if (!is_old(j, child, &start_s) ||
		    (tally_find(&j->retain.stay, child->name) != NULL) != stayed || (loaded && sink_wrote(sink, start_s)))
			continue;
		if (l->waits < LOCK_WAITS && clock_ms() < l->end_ms && !process_stop_after_batch())
			rc = remove_one(l, child);
		else if (stayed)
			tally_add(&l->stay, child->name, 0);
		watch_alive(j->watch);
	}
	return rc;
}

int keep_run(struct job *j, const struct sink *sink, bool loaded, struct err *e)
{
	struct look l = { .job = j, .end_ms = clock_ms() + ROWS_MS };

	if (!j->retain.apart && child_list(j->ddl, &j->conf->dest, NULL, false, &l.list, e) == 0) {
		int rc = remove_all(&l, sink, loaded, false);
		if (rc == 0)
			rc = remove_all(&l, sink, loaded, true);
		if (rc < 0) {           /* whatever state that left it in */
			pq_close(j->ddl);
			j->ddl = NULL;
		}
		tally_clear(&j->retain.stay);
		j->retain.stay = l.stay;
	}
	child_clear(&l.list);
	return e->code;
}

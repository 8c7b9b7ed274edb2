/*
 * Removes partitions that are older than part_keep. Only a child of dest_table under a name that
 * part_method makes is touched, and only when nothing in it is young: by its bounds, or where these
 * do not tell, by its rows. In doubt the partition stays, and a warning says why. Each is removed
 * in a short transaction of its own, in which it is checked again under its lock.
 *
 * DETACH is plain, not CONCURRENTLY: the latter cannot be part of a transaction, so its timeout
 * would be the session's, which a pooler hands on to others; it may stop half-way, refuses to work
 * beside a default partition, and needs a server from version 14.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "private.h"

#define LOCK_WAITS 3                    /* lock timeouts before the rest is left for later */
#define ROWS_MS 20000                   /* for reading rows in one look; the rest is left too */

/* "dropped" or "detached" */
static const char *removed(const struct dest *d)
{
	return d->part_keep_action == KEEP_DETACH ? "detached" : "dropped";
}

/* "" where no column picks the partition. */
static struct span column_of(const struct dest *d)
{
	struct span target = dest_part_target(d);

	return target.p ? target : span_of("");
}

bool keep_is_partition(const struct dest *d, const struct child *child, int64_t *start_s)
{
	return child->ordinary && child->found && age_of_name(d, child->name, start_s);
}

static bool is_old(const struct job *j, const struct dest *d, const struct child *child,
	int64_t *start_s)
{
	return keep_is_partition(d, child, start_s) && age_is_old(j, d, *start_s);
}

static struct child_question question(const struct job *j, const struct dest *d)
{
	return (struct child_question){
		.q = j->ddl, .rule = &d->period, .column = column_of(d), .kept_s = age_kept(j, d),
	};
}

/* How old is all that is in the child? In doubt, *age is CHILD_UNCLEAR, and why says what is in
 * doubt. lock: its rows are read under a lock that blocks writers, but no readers. */
static int judge(struct job *j, const struct dest *d, const struct child_list *list,
	struct child *child, bool lock, enum child_age *age, struct buf *why, struct err *e)
{
	struct child_question ask = question(j, d);

	if (child_bounds(&ask, list, child, age, why, e) < 0 || *age != CHILD_UNCLEAR)
		return e->code;
	if (!lock || child_lock(j->ddl, child->table, false, "SHARE", e) == 0)
		child_rows(&ask, child, age, why, e);
	return e->code;
}

int keep_foresee(struct job *j, const struct dest *d, const struct child_list *list,
	struct child *child, enum child_age *age, struct buf *why, struct err *e)
{
	struct buf sql = { 0 };
	struct err ignored = { 0 };

	buf_str(&sql, "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY;");
	pq_add_settings(&sql, j->ddl, UPKEEP_LOCK_TIMEOUT_MS);
	if (pq_query(j->ddl, buf_cstr(&sql), e) == 0)
		judge(j, d, list, child, false, age, why, e);
	pq_query(j->ddl, "ROLLBACK", &ignored);
	buf_free(&sql);
	return e->code;
}

/* Locks the child, and its parent before it, as everybody else does: the other order could deadlock
 * with readers. With inheritance the parent does not change, and is not locked. *parent: the
 * parent's lock was granted. *same: under both locks the child is still what the list says. */
static int take(struct job *j, const struct dest *d, const struct child_list *list,
	const struct child *child, bool *parent, bool *same, struct err *e)
{
	struct child_list again = { 0 };
	int64_t start_s;

	if (list->declarative && child_lock(j->ddl, list->parent, true, "ACCESS EXCLUSIVE", e) < 0)
		return e->code;
	*parent = true;
	if (child_lock(j->ddl, child->table, false, "ACCESS EXCLUSIVE", e) == 0 &&
	    child_list(j->ddl, d, child->name, false, &again, e) == 0)
		*same = again.n == 1 && again.at[0].oid == child->oid &&
			again.declarative == list->declarative &&
			is_old(j, d, &again.at[0], &start_s);
	child_clear(&again);
	return e->code;
}

struct look {                           /* at all children that are old by their names */
	struct job *job;
	struct place *place;
	struct child_list list;
	struct tally stay;              /* in doubt or young, and a warning said so */
	int waits;                      /* lock timeouts */
	int64_t end_ms;                 /* clock_ms() from which on no child is looked at */
};

/* Warns once, for as long as the child stays. */
static void stays(struct look *l, const struct child *child, const char *why)
{
	tally_add(&l->stay, child->name, 0);
	if (!tally_find(&l->place->stay, child->name))
		log_warn("partition %s is older than part_keep = %s by its name, and stays: %s",
			child->name, l->place->dest->part_keep, why);
}

bool keep_is_gone(const struct err *e)
{
	return sqlstate_is(e->sqlstate, SQLSTATE_NO_TABLE) ||
		(e->code == ERR_CONFLICT && !*e->sqlstate);
}

/* Warns of an error, after a lock timeout with the session that holds the table. parent: the
 * parent's lock was granted; judged: the child is old. */
static void failed(struct look *l, const struct child *child, bool parent, bool judged,
	struct err *e)
{
	const struct dest *d = l->place->dest;
	bool lock = sqlstate_is(e->sqlstate, SQLSTATE_LOCKED);
	struct span locked = parent || !judged ? span_of(child->name) : d->table;

	if (lock)
		ddl_say_who(l->job->ddl, d, locked, e);
	if (e->code == ERR_STOP || keep_is_gone(e))
		return;
	if (judged || lock || e->code == ERR_CONN || e->code == ERR_RIGHTS)
		log_warn("partition %s is older than part_keep = %s and cannot be %s now: %s;"
			" it will be tried again", child->name, d->part_keep, removed(d), e->msg);
	else
		stays(l, child, e->msg);
}

/* Removes the child if nothing in it is young, or warns. 0, or the error of a lost connection. */
static int remove_one(struct look *l, struct child *child)
{
	struct job *j = l->job;
	const struct dest *d = l->place->dest;
	struct err e = { 0 }, lost = { 0 };
	struct buf sql = { 0 }, why = { 0 };
	enum child_age age = CHILD_UNCLEAR;
	bool parent = false, same = false;

	ddl_begin(&sql, j->ddl, UPKEEP_LOCK_TIMEOUT_MS);
	bool judged = pq_query(j->ddl, buf_cstr(&sql), &e) == 0 &&
		judge(j, d, &l->list, child, true, &age, &why, &e) == 0;
	if (judged && age == CHILD_OLD && take(j, d, &l->list, child, &parent, &same, &e) == 0 &&
	    same)
		child_remove(j->ddl, &l->list, child, d->part_keep_action == KEEP_DETACH, &e);
	if (same && !e.code)
		log_info("partition %s is older than part_keep = %s: %s", child->name, d->part_keep,
			removed(d));
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

/* Removes what is old: of the children that stayed after the last look, or of the others. 0, or the
 * error of a lost connection. */
static int remove_all(struct look *l, const struct sink *sink, bool stayed)
{
	struct job *j = l->job;
	int64_t start_s;
	int rc = 0;

	for (size_t i = 0; i < l->list.n && rc == 0; i++) {
		struct child *child = &l->list.at[i];
		if (!is_old(j, l->place->dest, child, &start_s) ||
		    (tally_find(&l->place->stay, child->name) != NULL) != stayed ||
		    (sink && sink_wrote(sink, l->place->number, start_s)))
			continue;
		if (l->waits < LOCK_WAITS && clock_ms() < l->end_ms && !process_stop_after_batch())
			rc = remove_one(l, child);
		else if (stayed)
			tally_add(&l->stay, child->name, 0);
		watch_alive(j->watch);
	}
	return rc;
}

int keep_run(struct job *j, struct place *k, const struct sink *sink, struct err *e)
{
	struct look l = { .job = j, .place = k, .end_ms = clock_ms() + ROWS_MS };

	if (!j->clocks.apart && child_list(j->ddl, k->dest, NULL, false, &l.list, e) == 0) {
		int rc = remove_all(&l, sink, false);
		if (rc == 0)
			rc = remove_all(&l, sink, true);
		if (rc < 0) {           /* whatever state the error left it in */
			pq_close(j->ddl);
			j->ddl = NULL;
		}
		tally_clear(&k->stay);
		k->stay = l.stay;
	}
	child_clear(&l.list);
	return e->code;
}

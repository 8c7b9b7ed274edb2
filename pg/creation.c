/*
 * Creating partitions in a transaction of their own, which waits for locks only for a while; and
 * why it failed.
 */
#include <string.h>

#include "pq.h"

/* Opens a transaction that holds the lock for creating partitions, and looks again. */
static int begin(struct pq *ddl, const struct dest *d, struct part_new *list, size_t n,
	int lock_timeout_ms, size_t *at, struct err *e)
{
	struct buf sql = { 0 };

	ddl_begin(&sql, ddl, lock_timeout_ms);
	buf_str(&sql, "SELECT pg_catalog.pg_advisory_xact_lock(");
	part_add_lock_key(&sql, d);
	buf_str(&sql, ");");
	*at = 0;
	if (part_ask(ddl, d, &sql, list, n, e) == 0)
		return part_refuse(ddl, d, list, n, at, e);
	if (e->code == ERR_TIMEOUT) {
		e->code = 0;
		err_set(e, ERR_CONFLICT, "another process creates partitions of %s at this moment",
			d->dest_table);
	}
	return e->code;
}

static int run_template(struct pq *ddl, const struct dest *d, struct part_new *part, struct err *e)
{
	struct buf sql = { 0 };

	buf_fmt(&sql, "%s\n;", part->sql);
	return part_run(ddl, d, &sql, part, 1, e);
}

/* In one transaction, or in several if a template ends it. *at: which one failed; n: the COMMIT
 * did. *kept: how many are committed. */
static int create(struct pq *ddl, const struct dest *d, struct part_new *list, size_t n,
	int lock_timeout_ms, size_t *at, size_t *kept, struct err *e)
{
	*kept = 0;
	for (*at = 0; *at < n; ++*at) {
		if (!pq_in_transaction(ddl)) {
			size_t after;
			*kept = *at;
			if (begin(ddl, d, list + *at, n - *at, lock_timeout_ms, &after,
			    e) < 0) {
				*at += after;
				return e->code;
			}
		}
		if (!list[*at].there && run_template(ddl, d, &list[*at], e) < 0)
			return e->code;
	}
	if (pq_in_transaction(ddl) && pq_query(ddl, "COMMIT", e) < 0) {
		pq_judge(ddl, SQLSTATE_CREATE, e);
		return e->code;
	}
	*kept = n;
	return 0;
}

static void undo(struct pq *ddl, struct part_new *list, size_t n)
{
	struct err ignored = { 0 };

	pq_query(ddl, "ROLLBACK", &ignored);
	for (size_t i = 0; i < n; i++)
		list[i].there = list[i].made = false;
}

/* Is the template at fault because dest_table is not there? */
static bool lacks_parent(struct pq *ddl, const struct dest *d, const struct err *cause)
{
	struct table parent;
	struct err e = { 0 };

	return sqlstate_is(cause->sqlstate, SQLSTATE_NO_TABLE) &&
		strstr(d->part_template, template_text[PARENT]) &&
		table_find(ddl, d, d->table, &parent, &e) == 0 && !*parent.oid;
}

/* Has something else the partition's name, or one that the template makes of it? By a list that is
 * the value's fault. */
static bool is_value_taken(const struct dest *d, const char *name, const struct err *cause)
{
	return d->period.method == PERIOD_LIST && strstr(cause->msg, name) &&
		sqlstate_is(cause->sqlstate, SQLSTATE_TAKEN);
}

/* Rewords e, the reason why a partition cannot be created: a lock or a race becomes ERR_TIMEOUT, a
 * fault of the template ERR_SHAPE, one of a list's value ERR_DATA. */
static int explain(struct pq *ddl, const struct dest *d, const char *name, struct err *e)
{
	struct err cause = *e;
	bool wait = cause.code == ERR_TIMEOUT ||
		(cause.code == ERR_CONFLICT && !sqlstate_is(cause.sqlstate, SQLSTATE_TAKEN));
	bool as_it_is = cause.code == ERR_RIGHTS || cause.code == ERR_RESOURCE ||
		cause.code == ERR_OTHER;

	*e = (struct err){ 0 };
	memcpy(e->sqlstate, cause.sqlstate, sizeof e->sqlstate);
	if (lacks_parent(ddl, d, &cause))
		return err_set(e, ERR_SHAPE, "partition %s cannot be created: dst_db has no table"
			" %s, which part_template needs (_PARENT): create it, or check dest_table",
			name, d->dest_table);
	err_set(e, wait ? ERR_TIMEOUT : as_it_is ? cause.code :
		is_value_taken(d, name, &cause) ? ERR_DATA : ERR_SHAPE,
		"partition %s cannot be created by part_template: %.800s", name, cause.msg);
	if (wait)
		ddl_say_who(ddl, d, d->table, e);
	return e->code;
}

/* Does the partition exist now? A program that does not take our lock may have just created it. */
static bool lost_race(struct pq *ddl, const struct dest *d, struct part_new *part)
{
	struct err e = { 0 };
	size_t at;

	return part_look(ddl, d, part, 1, &at, &e) == 0 && part->there;
}

int creation_run(struct pq *ddl, const struct dest *d, struct part_new *list, size_t n,
	int lock_timeout_ms, size_t *at, struct err *e)
{
	size_t kept;

	if (create(ddl, d, list, n, lock_timeout_ms, at, &kept, e) == 0)
		return 0;
	bool told = !*e->sqlstate || sqlstate_is(e->sqlstate, SQLSTATE_LOCKED);
	bool alone = n == 1, raced = e->code == ERR_CONFLICT && !told;
	undo(ddl, list + kept, n - kept);
	bool as_it_is = e->code == ERR_RIGHTS || e->code == ERR_CONFLICT || e->code == ERR_DATA;
	if (sqlstate_is_lost(e) || (told && as_it_is))
		return e->code;
	if (alone && raced && lost_race(ddl, d, list)) {
		*e = (struct err){ 0 };
		return 0;
	}
	if (*at == n)
		*at = 0;
	return explain(ddl, d, list[*at].name, e);
}

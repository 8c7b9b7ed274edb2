/*
 * --install's part about the role that is to run: it prints the rights that it needs, or gives it
 * those that it lacks (--grant).
 */
#include <stdio.h>

#include "ops.h"

/* ---- who */

static int require_role(struct pq *q, const char *what, const char *role, struct err *e)
{
	struct buf sql = { 0 };

	buf_str(&sql, PQ_OWN_PATH "SELECT 1 FROM pg_roles WHERE rolname = ");
	buf_literal(&sql, span_of(role));
	if (pq_query(q, buf_cstr(&sql), e) == 0 && pq_rows(q) == 0)
		err_set(e, ERR_SHAPE, "%s has no role %s: create it (CREATE ROLE ... LOGIN)", what,
			role);
	buf_free(&sql);
	return e->code;
}

int grant_require(struct job *j, const char *role, struct err *e)
{
	if (require_role(j->src, "src_db", role, e) == 0)
		require_role(j->dst[0], "dst_db", role, e);
	return e->code;
}

/* ---- what it lacks */

struct both {                           /* zeroed before use */
	struct rights src, dst;
};

static int find_rights(struct job *j, const char *role, struct both *lacks, struct err *e)
{
	if (checksource_meet(j, NULL, e) < 0 ||
	    rights_source(&lacks->src, j->src, j->conf, role, e) < 0)
		return e->code;
	for (size_t i = 0; i < j->dests.nway && !e->code; i++) {
		const struct way *way = j->dests.way[i];
		struct feed feed = { 0 };
		if (checksource_feed(j, way, &feed, e) == 0)
			rights_target(&lacks->dst, j->dst[0], j->conf, way->dest, &feed, role, e);
		checksource_free(&feed);
	}
	return e->code;
}

static void both_free(struct both *lacks)
{
	rights_free(&lacks->src);
	rights_free(&lacks->dst);
}

/* A table that is not there has no rights to give. */
static int say_no_table(struct job *j, struct err *e)
{
	for (size_t i = 0; i < j->dests.nplace && !e->code; i++) {
		const struct dest *d = j->dests.place[i]->dest;
		struct table table;
		if (table_find(j->dst[0], d, d->table, &table, e) == 0 && !*table.oid)
			print_line(stdout, "table %s is not there: its rights are not among these;"
				" create"
				" it, and run --install again\n", d->dest_table);
	}
	return e->code;
}

/* ---- --grant */

static bool is_given(const struct right *right)
{
	return right->use != RIGHT_VERIFY;
}

/* In one transaction. */
static int give(struct pq *q, const char *what, const struct rights *lacks, struct err *e)
{
	struct buf sql = { 0 };

	buf_str(&sql, "BEGIN;" PQ_OWN_PATH "SET LOCAL client_min_messages = error;");
	for (size_t i = 0; i < lacks->n; i++)
		if (is_given(&lacks->at[i]))
			buf_str(&sql, lacks->at[i].give);
	buf_str(&sql, "COMMIT");
	pq_query(q, buf_cstr(&sql), e);
	buf_free(&sql);
	for (size_t i = 0; i < lacks->n && !e->code; i++)
		if (is_given(&lacks->at[i]))
			print_line(stdout, "%s: %s\n", what, lacks->at[i].give);
	return e->code;
}

/* A GRANT without the right to grant is no error of the server's. */
static int require_given(const struct rights *lacks, const char *what, struct err *e)
{
	bool first = true;

	for (size_t i = 0; i < lacks->n; i++) {
		if (!is_given(&lacks->at[i]))
			continue;
		if (first)
			err_set(e, ERR_RIGHTS, "%s: no effect, let an administrator do it:", what);
		err_add(e, " %s", lacks->at[i].give);
		first = false;
	}
	return e->code;
}

int grant_give(struct job *j, const char *role, struct err *e)
{
	struct both before = { 0 }, after = { 0 };

	if (find_rights(j, role, &before, e) == 0 &&
	    give(j->src, "src_db", &before.src, e) == 0 &&
	    give(j->dst[0], "dst_db", &before.dst, e) == 0 &&
	    find_rights(j, role, &after, e) == 0 &&
	    require_given(&after.src, "src_db", e) == 0 &&
	    require_given(&after.dst, "dst_db", e) == 0 && say_no_table(j, e) == 0)
		print_line(stdout, "role %s has the rights to run\n", role);
	both_free(&before);
	both_free(&after);
	return e->code;
}

/* ---- without */

static void print_rights(const char *what, const struct rights *lacks)
{
	static const char *const use[] = {
		[RIGHT_RUN] = "", [RIGHT_PERHAPS] = " -- for events without that column",
		[RIGHT_REPLAY] = " -- for --replay", [RIGHT_VERIFY] = " -- for --verify",
		[RIGHT_KEEP] = " -- for part_keep", [RIGHT_TICK] = " -- for --tick",
	};

	for (size_t i = 0; i < lacks->n; i++)
		print_line(stdout, "  %s: %s%s\n", what, lacks->at[i].give, use[lacks->at[i].use]);
}

int grant_say(struct job *j, struct err *e)
{
	struct both lacks = { 0 };

	if (find_rights(j, RIGHTS_OF_ANYBODY, &lacks, e) == 0 && say_no_table(j, e) == 0) {
		puts("rights of a role that runs this config; --install --grant "
			RIGHTS_OF_ANYBODY " gives them:");
		print_rights("src_db", &lacks.src);
		print_rights("dst_db", &lacks.dst);
	}
	both_free(&lacks);
	return e->code;
}

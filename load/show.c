/*
 * --show-partitions: the children of dest_table, and what part_keep would do to each.
 */
#include <stdio.h>
#include <string.h>

#include "private.h"

#define LOCK_TIMEOUT_MS 5000            /* sizes wait for whoever has a partition locked */
#define LINE "%-*s  %-*s  %-*s  %12s  %10s  %s\n"

/* Appends what is to become of the child. Returns whether it will be removed. */
static bool foretell(struct job *j, const struct dest *d, const struct child_list *list,
	struct child *child, struct buf *fate)
{
	enum child_age age = CHILD_UNCLEAR;
	struct err e = { 0 };
	int64_t start_s;

	if (!child->ordinary)
		buf_str(fate, "never touched: no ordinary table");
	else if (!keep_is_partition(d, child, &start_s))
		buf_str(fate, "never touched: no partition by its name");
	else if (j->clocks.apart && d->part_keep)
		buf_str(fate, "keep: the servers' clocks are apart");
	else if (!age_is_old(j, d, start_s))
		buf_str(fate, "keep");
	if (fate->len)
		return false;
	struct buf why = { 0 };
	if (child->owned && keep_foresee(j, d, list, child, &age, &why, &e) < 0 && keep_is_gone(&e))
		buf_str(fate, "none: it was removed at this moment");
	else if (e.code)
		buf_fmt(fate, "keep: whether it has younger rows cannot be told: %s", e.msg);
	else if (child->owned && age != CHILD_OLD)
		buf_fmt(fate, "keep: %s", buf_cstr(&why));
	else
		buf_fmt(fate, "%s%s", d->part_keep_action == KEEP_DETACH ? "detach" : "drop",
			child->owned ? "" : ", but has another owner");
	buf_free(&why);
	return child->owned ? age == CHILD_OLD && !e.code : true;
}

/* Appends the name that a config would use: without a schema where none is needed. */
static void add_name(struct buf *name, const struct dest *d, const struct child *child)
{
	if (child->found)
		buf_qualified(name, d->schema, span_of(child->name));
	else
		buf_str(name, child->table);
}

/* Prints a line. Returns whether the child will be removed. */
static bool show_child(struct job *j, const struct dest *d, const struct child_list *list,
	struct child *child, int name_width, int time_width)
{
	char from[PERIOD_LITERAL_MAX] = "-", to[PERIOD_LITERAL_MAX] = "-";
	struct buf name = { 0 }, fate = { 0 };
	struct err ignored = { 0 };
	int64_t start_s;

	if (keep_is_partition(d, child, &start_s)) {
		local_know(&d->period, start_s, &ignored);      /* else without an offset */
		period_literal(&d->period, start_s, from);
		if (d->period.method != PERIOD_LIST)
			period_literal(&d->period, period_end(&d->period, start_s), to);
	}
	if (d->period.method == PERIOD_LIST)
		*to = 0;
	bool goes = foretell(j, d, list, child, &fate);
	add_name(&name, d, child);
	print_line(stdout, LINE, name_width, buf_cstr(&name), time_width, from,
		*to ? time_width : 0, to, child->rows ? child->rows : "?",
		child->size ? child->size : "?", buf_cstr(&fate));
	buf_free(&name);
	buf_free(&fate);
	return goes;
}

static int width_of_names(const struct dest *d, const struct child_list *list)
{
	size_t width = 4;

	for (size_t i = 0; i < list->n; i++) {
		struct buf name = { 0 };
		add_name(&name, d, &list->at[i]);
		if (name.len > width)
			width = name.len;
		buf_free(&name);
	}
	return (int)width;
}

static void show_list(struct job *j, const struct dest *d, struct child_list *list)
{
	bool by_value = d->period.method == PERIOD_LIST, dated = period_is_dated(&d->period);
	int time_width = !dated ? 20 : d->period.zoned ? 25 :
		d->period.method == PERIOD_HOURLY ? 19 : 10;
	int name_width = width_of_names(d, list), old = 0;

	print_line(stdout, LINE, name_width, "name", time_width, by_value ? "value" : "from",
		by_value ? 0 : time_width, by_value ? "" : "to",
		"rows, about", "size", "what will be done");
	for (size_t i = 0; i < list->n; i++)
		old += show_child(j, d, list, &list->at[i], name_width, time_width);
	print_line(stdout, "%zu children of %s", list->n, d->dest_table);
	if (d->part_keep)
		print_line(stdout, ", %d older than part_keep = %s\n", old, d->part_keep);
	else
		print_line(stdout, dated ? "; part_keep is not set\n" : "\n");
}

/* Lists names and sizes, in a transaction of its own for the lock timeout. */
static int find_children(struct job *j, const struct dest *d, struct child_list *list,
	struct err *e)
{
	struct buf sql = { 0 };
	struct err ignored = { 0 };

	buf_str(&sql, "BEGIN READ ONLY;");
	pq_add_settings(&sql, j->ddl, LOCK_TIMEOUT_MS);
	if (pq_query(j->ddl, buf_cstr(&sql), e) == 0)
		child_list(j->ddl, d, NULL, true, list, e);
	pq_query(j->ddl, "ROLLBACK", &ignored);
	buf_free(&sql);
	return e->code;
}

/* For its clock, which is not compared if the source cannot be reached. */
static void connect_source(struct job *j)
{
	struct err e = { 0 };

	if (conf_keeps(j->conf) && !j->src)
		j->src = queue_open(j->conf, NULL, &e);
	if (e.code)
		log_warn("the clocks are not compared: %s", e.msg);
}

static int show_place(struct job *j, const struct dest *d, struct err *e)
{
	struct child_list list = { 0 };
	struct table parent;

	if (table_find(j->ddl, d, d->table, &parent, e) < 0)
		return e->code;
	if (!*parent.oid)
		return err_set(e, ERR_SHAPE, "dst_db has no table %s: check dest_table",
			d->dest_table);
	if (find_children(j, d, &list, e) == 0)
		show_list(j, d, &list);
	child_clear(&list);
	return e->code;
}

int show_partitions(struct job *j, struct err *e)
{
	size_t shown = 0;

	dests_open(&j->dests, j->conf, &j->style);
	job_open_zone(j);
	connect_source(j);
	for (size_t i = 0; i < j->dests.nplace; i++) {
		const struct dest *d = j->dests.place[i]->dest;
		if (d->period.method == PERIOD_NONE)
			continue;
		if (!shown++ && age_look(j, e) < 0)
			return e->code;
		if (shown > 1)
			print_line(stdout, "\n");
		if (show_place(j, d, e) < 0)
			return e->code;
	}
	if (!shown && j->conf->nrule)
		return err_set(e, ERR_CONF, "no table that a section leads to has part_field:"
			" there are no partitions");
	return shown ? 0 : err_set(e, ERR_CONF, "part_field is not set: %s has no partitions",
		j->conf->dest.dest_table);
}

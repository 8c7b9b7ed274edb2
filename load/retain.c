/*
 * The age of partitions, as others see it: rows that come too late, the looks between two batches,
 * and --show-partitions. Nothing here stops the loading of rows; what does not work is a warning,
 * and tried again the next time.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

#define EVERY_MS (60 * 60 * 1000)       /* between two looks for partitions that are too old */
#define RETRY_MS (60 * 1000)            /* when a connection was lost */
#define SHOW_LOCK_TIMEOUT_MS 5000       /* sizes wait for who has a partition locked */
#define TOLD_MAX 5                      /* partitions with late rows that are named */

/* ---- rows that come late */

int retain_begin(struct job *j, struct err *e)
{
	const struct dest *d = &j->conf->dest;
	bool detaches = d->part_keep_action == KEEP_DETACH && d->keep.unit != PERIOD_NONE;

	if ((d->part_late == PART_LATE_CREATE && !detaches) || j->retain.known)
		return 0;
	return age_look(j, e);
}

bool retain_may_be_loose(const struct job *j, struct span partition)
{
	const struct dest *d = &j->conf->dest;
	struct span suffix = { partition.p + d->table.n, partition.n - d->table.n };
	int64_t start_s;

	return d->part_keep_action == KEEP_DETACH && d->keep.unit != PERIOD_NONE && j->retain.known &&
		period_of_suffix(&d->period, suffix, &start_s) && age_is_old(j, start_s);
}

bool retain_is_late(const struct job *j, int64_t start_s)
{
	return age_is_old(j, start_s);
}

static void failed(struct job *j, const char *what, const struct err *e)
{
	if (e->code != ERR_STOP)
		log_warn("%s: %s; it will be tried again", what, e->msg);
	pq_close(j->ddl);               /* whatever state the error left it in */
	j->ddl = NULL;
}

/* Rows in periods that are old; text names the partitions. */
static int64_t late_rows(const struct job *j, const struct tally *rows, struct buf *text)
{
	int64_t n = 0, start_s;
	size_t parts = 0;

	for (size_t i = 0; i < rows->n; i++) {
		const struct tally_part *part = &rows->at[i];
		if (!part->rows || !age_of_name(&j->conf->dest, part->name, &start_s) ||
		    !age_is_old(j, start_s) || tally_find(&j->retain.stay, part->name))
			continue;
		n += part->rows;
		if (parts++ < TOLD_MAX)
			buf_fmt(text, "%s%" PRId64 " into %s", text->len ? ", " : "", part->rows, part->name);
	}
	if (parts > TOLD_MAX)
		buf_fmt(text, ", and into %zu more", parts - TOLD_MAX);
	return n;
}

/* Minutes to the look that removes what was written now: one that is due spares it. */
static int64_t minutes_left(const struct job *j)
{
	int64_t left_ms = j->retain.keep_at_ms - clock_ms();

	return ((left_ms > 0 ? left_ms : EVERY_MS) + 59999) / 60000;
}

int64_t retain_tell_late(struct job *j, int64_t batch, const struct tally *rows)
{
	const struct dest *d = &j->conf->dest;
	struct buf text = { 0 };
	struct err e = { 0 };

	if (d->keep.unit == PERIOD_NONE || !rows->n)
		return 0;
	if (!j->retain.known && age_look(j, &e) < 0)
		failed(j, "part_keep", &e);
	int64_t n = late_rows(j, rows, &text), min = minutes_left(j);
	if (n)
		log_warn("batch %" PRId64 ": %" PRId64 " row%s older than part_keep = %s: %s; they will be %s with"
			" their partitions in about %" PRId64 " minute%s, or when a process starts (part_late = create)",
			batch, n, text_s(n), d->part_keep, buf_cstr(&text), keep_done(d), min, text_s(min));
	buf_free(&text);
	return n;
}

/* ---- between two batches */

static void look(struct job *j, const struct route *route, const struct sink *sink, bool loaded, bool keep, bool make)
{
	struct retain *r = &j->retain;
	struct err e = { 0 };

	if (keep)
		r->keep_at_ms = clock_ms() + EVERY_MS;
	if (make)
		r->premake_at_ms = clock_ms() + EVERY_MS;
	if (age_look(j, &e) < 0) {
		if (keep && e.code == ERR_CONN)
			r->keep_at_ms = clock_ms() + RETRY_MS;
		failed(j, keep ? "part_keep" : "part_premake", &e);
		return;
	}
	if (keep && keep_run(j, sink, loaded, &e) < 0)
		failed(j, "part_keep", &e);
	e = (struct err){ 0 };
	if (make && (part_open(&j->ddl, j->conf, &j->style, &e) < 0 || premake_run(j, route, &e) < 0))
		failed(j, "part_premake", &e);
}

bool retain_run(struct job *j, const struct route *route, const struct sink *sink, bool loaded)
{
	struct retain *r = &j->retain;
	bool keep = j->conf->dest.keep.unit != PERIOD_NONE && clock_ms() >= r->keep_at_ms;
	bool make = premake_is_due(j);

	if (keep || make)
		look(j, route, sink, loaded, keep, make);
	return keep || make;
}

void retain_free(struct retain *r)
{
	free(r->ev_type);
	tally_clear(&r->stay);
	*r = (struct retain){ 0 };
}

/* ---- --show-partitions */

/* What is to become of a child; true: it will be removed. */
static bool foretell(struct job *j, const struct child_list *list, struct child *child,
	struct buf *fate)
{
	const struct conf *c = j->conf;
	enum child_age age = CHILD_UNCLEAR;
	struct err e = { 0 };
	int64_t start_s;

	if (!child->ordinary)
		buf_str(fate, "never touched: no ordinary table");
	else if (!keep_is_partition(&c->dest, child, &start_s))
		buf_str(fate, "never touched: no partition by its name");
	else if (j->retain.apart && c->dest.part_keep)
		buf_str(fate, "keep: the servers' clocks are apart");
	else if (!age_is_old(j, start_s))
		buf_str(fate, "keep");
	if (fate->len)
		return false;
	struct buf why = { 0 };
	if (child->owned && keep_foresee(j, list, child, &age, &why, &e) < 0)
		buf_fmt(fate, "keep: whether it has younger rows cannot be told: %s", e.msg);
	else if (child->owned && age != CHILD_OLD)
		buf_fmt(fate, "keep: %s", buf_cstr(&why));
	else
		buf_fmt(fate, "%s%s", c->dest.part_keep_action == KEEP_DETACH ? "detach" : "drop", child->owned ? "" : ", but has another owner");
	buf_free(&why);
	return child->owned ? age == CHILD_OLD && !e.code : true;
}

/* As the config would name it: without a schema where that is found without one. */
static void add_name(struct buf *name, const struct conf *c, const struct child *child)
{
	if (child->found)
		buf_qualified(name, c->dest.schema, span_of(child->name));
	else
		buf_str(name, child->table);
}

/* true when it will be removed. */
static bool show_child(struct job *j, const struct child_list *list, struct child *child, int name_width,
	int time_width)
{
	const struct conf *c = j->conf;
	char from[PERIOD_LITERAL_MAX] = "-", to[PERIOD_LITERAL_MAX] = "-";
	struct buf name = { 0 }, fate = { 0 };
	int64_t start_s;

	if (keep_is_partition(&c->dest, child, &start_s)) {
		period_literal(&c->dest.period, start_s, from);
		period_literal(&c->dest.period, period_end(&c->dest.period, start_s), to);
	}
	bool goes = foretell(j, list, child, &fate);
	add_name(&name, c, child);
	print_line(stdout, "%-*s  %-*s  %-*s  %12s  %10s  %s\n", name_width, buf_cstr(&name), time_width, from,
		time_width, to, child->rows ? child->rows : "?", child->size ? child->size : "?", buf_cstr(&fate));
	buf_free(&name);
	buf_free(&fate);
	return goes;
}

static void show_list(struct job *j, struct child_list *list)
{
	const struct conf *c = j->conf;
	int time_width = c->dest.period.zoned ? 25 : c->dest.period.method == PERIOD_HOURLY ? 19 : 10;
	int name_width = 4, old = 0;

	for (size_t i = 0; i < list->n; i++) {
		struct buf name = { 0 };
		add_name(&name, c, &list->at[i]);
		if ((int)name.len > name_width)
			name_width = (int)name.len;
		buf_free(&name);
	}
	print_line(stdout, "%-*s  %-*s  %-*s  %12s  %10s  %s\n", name_width, "name", time_width, "from", time_width, "to",
		"rows, about", "size", "what will be done");
	for (size_t i = 0; i < list->n; i++)
		old += show_child(j, list, &list->at[i], name_width, time_width);
	print_line(stdout, "%zu children of %s", list->n, c->dest.dest_table);
	print_line(stdout, c->dest.part_keep ? ", %d older than part_keep = %s\n" : "; part_keep is not set\n", old, c->dest.part_keep);
}

/* Names and sizes, in a transaction that can wait for a while. */
static int find_children(struct job *j, struct child_list *list, struct err *e)
{
	struct buf sql = { 0 };
	struct err ignored = { 0 };

	buf_str(&sql, "BEGIN READ ONLY;");
	pq_add_settings(&sql, j->ddl, SHOW_LOCK_TIMEOUT_MS);
	if (pq_query(j->ddl, buf_cstr(&sql), e) == 0)
		child_list(j->ddl, &j->conf->dest, NULL, true, list, e);
	pq_query(j->ddl, "ROLLBACK", &ignored);
	buf_free(&sql);
	return e->code;
}

/* Without the source its clock is not compared. */
static void connect_source(struct job *j)
{
	struct err e = { 0 };

	if (j->conf->dest.part_keep)
		j->src = pq_open("src_db", j->conf->src_db, NULL, &e);
	if (e.code)
		log_warn("the clocks are not compared: %s", e.msg);
}

int retain_show(struct job *j, struct err *e)
{
	const struct conf *c = j->conf;
	struct child_list list = { 0 };
	struct table parent;

	if (c->dest.period.method == PERIOD_NONE)
		return err_set(e, ERR_CONF, "part_field is not set: %s has no partitions", c->dest.dest_table);
	connect_source(j);
	if (age_look(j, e) < 0 || table_find(j->ddl, &c->dest, c->dest.table, &parent, e) < 0)
		return e->code;
	if (!*parent.oid)
		return err_set(e, ERR_SHAPE, "dst_db has no table %s: check dest_table", c->dest.dest_table);
	if (find_children(j, &list, e) == 0)
		show_list(j, &list);
	child_clear(&list);
	return e->code;
}

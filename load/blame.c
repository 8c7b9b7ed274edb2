/*
 * A batch that failed: adds to the server's message what it is about, and what may be done.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "private.h"

/* Whose table refused rows; any where no table did. */
static const struct place *place_of_fault(const struct pass *p)
{
	return p->job->dests.place[p->fault.of];
}

/* After a missing table without a template that creates it: appends what to do. */
static void add_remedy(const struct pass *p, struct err *e)
{
	if (!*p->fault.table)
		return;
	const struct dest *d = place_of_fault(p)->dest;
	if (d->part_template || !sqlstate_is(e->sqlstate, SQLSTATE_NO_TABLE) ||
	    !strstr(e->msg, p->fault.table))
		return;
	err_add(e, "; part_template is not set, so %s", d->part_field ?
		"partitions must be there before their rows come: create it, or set part_template" :
		"dest_table must be there: create it, or check dest_table");
}

/* After a missing column: appends what to do. */
static void add_column(const struct pass *p, struct err *e)
{
	if (!*p->fault.table || !sqlstate_is(e->sqlstate, SQLSTATE_NO_COLUMN))
		return;
	const struct dest *d = place_of_fault(p)->dest;
	bool inherits = d->period.method == PERIOD_NONE || table_makes_children(d);
	err_add(e, "; add it to %s (ALTER TABLE ... ADD COLUMN ...), then start again: nothing is"
		" lost", inherits ? d->dest_table : p->fault.table);
}

/* Appends where the rows were to go. The lane's transaction is lost. */
static void add_place(const struct pass *p, struct buf *place, struct err *e)
{
	struct span table = span_of(p->fault.table);
	struct pq *dst = p->job->dst[p->fault.lane];
	bool full = e->code == ERR_RESOURCE, locked = sqlstate_is(e->sqlstate, SQLSTATE_LOCKED);
	struct err ignored = { 0 };

	buf_fmt(place, "partition %s", p->fault.table);
	if ((!full && !locked) || pq_query(dst, "ROLLBACK", &ignored) < 0)
		return;
	if (full)
		ddl_add_tablespace(dst, place_of_fault(p)->dest, table, place);
	else
		ddl_say_who(dst, place_of_fault(p)->dest, table, e);
}

/* After a table refused rows, whatever is in them: puts its name before the server's message. */
static void name_table(const struct pass *p, struct err *e)
{
	int code = e->code;
	bool waits = code == ERR_RESOURCE || code == ERR_TIMEOUT || code == ERR_OTHER;
	struct buf place = { 0 };

	if (!*p->fault.table || !*e->sqlstate || (code != ERR_RIGHTS && !waits) ||
	    sqlstate_is(e->sqlstate, SQLSTATE_DENIED))
		return;
	if (waits)
		add_place(p, &place, e);
	else
		buf_fmt(&place, "table %s takes no rows", p->fault.table);
	buf_fmt(&place, ": %s", e->msg);
	snprintf(e->msg, sizeof e->msg, "%s", buf_cstr(&place));
	buf_free(&place);
}

/* The ways on, where one event stops the job. */
static void add_ways(const struct job *j, struct err *e)
{
	if (j->conf->on_error == ON_ERROR_STOP && e->code == ERR_DATA)
		err_add(e, "; mend the table or the config, or go on without the event:"
			" on_error = dead_letter keeps it in tdispatch.dead_letter (--install"
			" creates that, --replay loads it later), on_error = skip leaves it out");
}

/* After a missing table that a pattern leads the source table to. */
static void add_section(const struct conf *c, const char *table, struct err *e)
{
	const struct rule *rule = rule_find(c, span_of(table), span_of(NULL));

	if (rule && rule->by_name && sqlstate_is(e->sqlstate, SQLSTATE_NO_TABLE))
		err_add(e, "; section [%.100s] leads there: ignore = 1 in a section [%.130s] would"
			" pass the table's events over", rule->section, table);
}

void blame_row(const struct pass *p, struct buf *row, struct err *e)
{
	if (p->fault.table[0])
		buf_fmt(row, ", partition %s", p->fault.table);
	if (p->fault.column[0])
		buf_fmt(row, ", column %s", p->fault.column);
	if (p->fault.value[0])
		buf_fmt(row, ", value \"%s\"", p->fault.value);
	buf_fmt(row, ": %s", e->msg);
	snprintf(e->msg, sizeof e->msg, "%s", buf_cstr(row));
}

/* Prefixes the error with the batch, the event, its source table and its partition. */
static void name_event(const struct pass *p, struct err *e)
{
	struct job *j = p->job;
	struct buf text = { 0 };
	struct err reconnect = { 0 };
	char *table = NULL;

	pq_close(j->src);
	if (job_source(j, &reconnect) == 0)
		table = events_table(j->src, p->batch, p->event);
	if (table)
		add_section(j->conf, table, e);
	buf_fmt(&text, "event %" PRId64 " of batch %" PRId64, p->event, p->batch->id);
	if (table)
		buf_fmt(&text, ", source table %.200s", table);
	blame_row(p, &text, e);
	buf_free(&text);
	free(table);
}

void blame_batch(const struct pass *p, struct err *e)
{
	add_remedy(p, e);
	add_column(p, e);
	name_table(p, e);
	if (p->event < 0 || (e->code != ERR_DATA && e->code != ERR_SHAPE))
		return;
	name_event(p, e);
	add_ways(p->job, e);
}

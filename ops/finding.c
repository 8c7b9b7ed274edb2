/*
 * What --check finds, one line each on standard output. It is the lowest file here: each part of
 * --check asks its server and reports through it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ops.h"

static void add(const char *label, const char *fmt, va_list ap)
{
	char *text;

	if (vasprintf(&text, fmt, ap) < 0)
		return;
	print_line(stdout, "%-9s%s\n", label, text);
	free(text);
}

void finding_ok(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add("ok", fmt, ap);
	va_end(ap);
}

static void finding_optional(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add("optional", fmt, ap);
	va_end(ap);
}

void finding_warning(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add("warning", fmt, ap);
	va_end(ap);
}

void finding_missing(struct findings *f, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add("MISSING", fmt, ap);
	va_end(ap);
	f->things++;
}

void finding_wrong(struct findings *f, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add("WRONG", fmt, ap);
	va_end(ap);
	f->things++;
}

void finding_error(struct findings *f, const struct err *e, const char *thing)
{
	if (f->lacking && sqlstate_is(e->sqlstate, SQLSTATE_DENIED))
		finding_warning("%s: cannot be looked at without the rights above", thing);
	else if (e->code == ERR_RIGHTS && !*e->sqlstate)        /* another role owns it */
		finding_wrong(f, "%s", e->msg);
	else
		finding_missing(f, "%s", e->msg);
}

static void add_right(struct findings *f, const char *what, const struct right *right)
{
	switch (right->use) {
	case RIGHT_RUN:
		finding_missing(f, "right on %s: %s", what, right->give);
		f->lacking = true;
		break;
	case RIGHT_PERHAPS:
		finding_warning("right on %s for events that do not bring column %s: %s", what,
			right->column,
			right->give);
		break;
	case RIGHT_REPLAY:
		finding_optional("right on %s for --replay: %s", what, right->give);
		break;
	case RIGHT_KEEP:
		finding_warning("right on %s for part_keep: %s", what, right->give);
		break;
	case RIGHT_TICK:
		finding_optional("right on %s for --tick: %s", what, right->give);
		break;
	case RIGHT_VERIFY:
		finding_optional("right on %s for --verify: %s", what, right->give);
		break;
	}
}

void finding_rights(struct findings *f, const char *what, struct rights *rights)
{
	for (size_t i = 0; i < rights->n; i++)
		add_right(f, what, &rights->at[i]);
	rights_free(rights);
}

void finding_installer(struct buf *text, const char *what, const struct rights *rights)
{
	buf_fmt(text, "let an administrator run --install --grant ROLE once, with %s in the"
		" environment or with a config of his own",
		strcmp(what, "src_db") == 0 ? "TDISPATCH_SRC_DB" : "TDISPATCH_DST_DB");
	for (size_t i = 0; i < rights->n; i++)
		buf_fmt(text, ", or %s", rights->at[i].give);
}

int finding_ask(struct findings *f, struct pq *q, struct buf *sql)
{
	struct err e = { 0 };
	int rc = pq_query(q, buf_cstr(sql), &e);

	buf_free(sql);
	if (rc < 0)
		finding_missing(f, "%s", e.msg);
	return rc < 0 ? 0 : pq_rows(q);
}

int finding_conclude(const struct findings *f)
{
	if (f->things)
		print_line(stdout, "not ready: %d thing%s\n", f->things, text_s(f->things));
	else
		puts("ready");
	return f->things > 0;
}

/*
 * What --check finds, one line each on standard output.
 */
#include <stdio.h>
#include <stdlib.h>

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
	f->missing++;
}

void finding_wrong(struct findings *f, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add("WRONG", fmt, ap);
	va_end(ap);
	f->wrong++;
}

void finding_error(struct findings *f, const struct err *e)
{
	if (e->code == ERR_RIGHTS && !*e->sqlstate)     /* exists, but another role owns it */
		finding_wrong(f, "%s", e->msg);
	else
		finding_missing(f, "%s", e->msg);
}

bool finding_grants(struct findings *f, const char *what, struct pq *q, int rc, const struct err *e)
{
	if (rc < 0)
		finding_missing(f, "%s", e->msg);
	for (int i = 0; rc >= 0 && i < pq_rows(q); i++)
		finding_missing(f, "right on %s: %s;", what, pq_value(q, i, 0));
	return rc >= 0 && pq_rows(q) == 0;
}

void finding_admin(struct buf *text, const char *what, const struct pq *q, int rc)
{
	buf_fmt(text, "let an administrator run --install once (--set %s=...)", what);
	for (int i = 0; rc >= 0 && i < pq_rows(q); i++)
		buf_fmt(text, ", or %s;", pq_value(q, i, 0));
}

/*
 * A shape: the columns that some rows have, and where their values stand in the event.
 */
#include <stdlib.h>

#include "private.h"

void shape_free(struct shape *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->nsource; i++)
		free((char *)(uintptr_t)s->source[i].p);
	for (size_t i = 0; i < s->n; i++)
		free((char *)(uintptr_t)s->target[i].p);
	free(s->source);
	free(s->target);
	free(s->at);
	free(s->missing);
	free(s->columns);
	free(s);
}

struct span shape_span(const char *p, size_t n)
{
	return (struct span){ mem_str(p, n), n };
}

struct shape *shape_new(size_t nsource, size_t n, size_t nword, const struct field *word)
{
	struct shape *s = mem_alloc(sizeof *s);

	*s = (struct shape){ .source = mem_alloc((nsource + 1) * sizeof *s->source),
		.target = mem_alloc((n + nword + 1) * sizeof *s->target),
		.at = mem_alloc((n + 1) * sizeof *s->at),
		.nword = nword, .word = word,
	};
	return s;
}

void shape_add(struct shape *s, struct span target, size_t at)
{
	s->target[s->n] = shape_span(target.p, target.n);
	s->at[s->n++] = at;
}

static bool is_identity(const struct shape *s)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->at[i] != i)
			return false;
	return true;
}

void shape_finish(struct shape *s)
{
	struct buf columns = { 0 };

	if (is_identity(s)) {
		free(s->at);
		s->at = NULL;
	}
	for (size_t i = 0; i < s->nword; i++) {
		struct span name = s->word[i].target;
		s->target[s->n++] = shape_span(name.p, name.n);
	}
	for (size_t i = 0; i < s->n; i++) {
		buf_str(&columns, i ? ", " : "");
		buf_ident(&columns, s->target[i]);
	}
	buf_cstr(&columns);
	s->columns = columns.p;
}

ssize_t shape_find(const struct shape *s, struct span name, size_t from, size_t n)
{
	for (size_t i = from; i < n; i++)
		if (span_eq(s->target[i], name))
			return (ssize_t)i;
	return -1;
}

static void swap_columns(struct shape *s, size_t i, size_t k)
{
	struct span target = s->target[i];
	size_t at = s->at[i];

	s->target[i] = s->target[k];
	s->at[i] = s->at[k];
	s->target[k] = target;
	s->at[k] = at;
}

bool shape_arrange(struct shape *s, const struct shape *model)
{
	size_t n = model->n - model->nword;

	for (size_t i = 0; s->n == n && i < n; i++)
		if (shape_find(s, model->target[i], 0, n) < 0)
			return false;
	for (size_t i = 0; s->n == n && i < n; i++)
		swap_columns(s, i, (size_t)shape_find(s, model->target[i], i, n));
	return s->n == n;
}

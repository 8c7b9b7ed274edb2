/*
 * The ini grammar of Python's configparser.ConfigParser (strict, no inline comments), for which old
 * config files were written. Parsing turns lines into entries; as in Python, %(name)s is replaced
 * later, when a value is read.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ini.h"

#define INTERPOLATION_DEPTH_MAX 10      /* %(name)s inside %(name)s, as in configparser */

struct reader {
	struct ini *ini;
	struct span section;            /* p is NULL before the first header */
	bool in_key;                    /* an entry may continue on further lines */
	size_t indent;                  /* of the open key */
	struct buf value;               /* of the open key */
	size_t value_kept;              /* its length without trailing white space */
	size_t line;
	struct err *err;
};

static bool is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r') || (c >= 0x1c && c <= 0x1f);
}

static struct span strip(struct span s)
{
	while (s.n && is_space(s.p[0])) {
		s.p++;
		s.n--;
	}
	while (s.n && is_space(s.p[s.n - 1]))
		s.n--;
	return s;
}

static struct ini_entry *add_entry(struct reader *r, struct span key)
{
	struct ini *ini = r->ini;

	ini->entry = mem_grow(ini->entry, ini->n, &ini->cap, sizeof *ini->entry);
	struct ini_entry *entry = &ini->entry[ini->n++];
	*entry = (struct ini_entry){ .section = r->section, .key = mem_lower(key.p, key.n),
		.line = r->line };
	return entry;
}

static void close_value(struct reader *r)
{
	if (r->in_key)
		r->ini->entry[r->ini->n - 1].value = mem_str(r->value.p, r->value_kept);
	r->in_key = false;
	r->value.len = r->value_kept = 0;
}

static void add_value_line(struct reader *r, struct span text, bool first)
{
	if (!first)
		buf_add(&r->value, "\n", 1);
	buf_add(&r->value, text.p, text.n);
	if (text.n)
		r->value_kept = r->value.len;
}

/* [name], ignoring what follows; the last ] of the line ends the name. */
static bool read_header(struct reader *r, struct span text)
{
	size_t end = text.n;

	while (end > 2 && text.p[end - 1] != ']')
		end--;
	if (text.p[0] != '[' || end <= 2)
		return false;
	close_value(r);
	r->section = (struct span){ text.p + 1, end - 2 };
	add_entry(r, span_of(""))->value = mem_str("", 0);
	return true;
}

static int read_key(struct reader *r, struct span text)
{
	size_t at = 0;

	while (at < text.n && text.p[at] != '=' && text.p[at] != ':')
		at++;
	struct span key = strip((struct span){ text.p, at });
	if (at == text.n)
		return err_set(r->err, ERR_CONF, "line %zu: neither a [section], a comment nor key"
			" = value; if it goes on with a value, it must begin with a blank",
			r->line);
	if (key.n == 0)
		return err_set(r->err, ERR_CONF, "line %zu: there is no key before the '%c'",
			r->line, text.p[at]);
	close_value(r);
	add_entry(r, key);
	r->in_key = true;
	add_value_line(r, strip((struct span){ text.p + at + 1, text.n - at - 1 }), true);
	return 0;
}

static void note_semicolon(struct reader *r, char c, size_t indent)
{
	struct ini_entry *entry = r->in_key ? &r->ini->entry[r->ini->n - 1] : NULL;

	if (entry && c == ';' && indent && !entry->semicolon_line)
		entry->semicolon_line = r->line;
}

static int read_line(struct reader *r, struct span line)
{
	struct span text = strip(line);
	size_t indent = (size_t)(text.p - line.p);

	if (memchr(line.p, 0, line.n))
		return err_set(r->err, ERR_CONF, "line %zu: a NUL byte: this is no text file",
			r->line);
	if (text.n && (text.p[0] == '#' || text.p[0] == ';')) {
		note_semicolon(r, text.p[0], indent);
		return 0;
	}
	if (text.n == 0) {
		if (r->in_key)
			add_value_line(r, text, false);
		return 0;
	}
	if (r->in_key && indent > r->indent) {
		add_value_line(r, text, false);
		return 0;
	}
	r->indent = indent;
	if (read_header(r, text))
		return 0;
	if (!r->section.p)
		return err_set(r->err, ERR_CONF, "line %zu: there must be a [section] before the"
			" first key", r->line);
	return read_key(r, text);
}

static int compare_entries(const void *a, const void *b)
{
	const struct ini_entry *x = *(const struct ini_entry *const *)a,
		*y = *(const struct ini_entry *const *)b;
	size_t common = x->section.n < y->section.n ? x->section.n : y->section.n;
	int c = memcmp(x->section.p, y->section.p, common);

	if (c == 0)
		c = (x->section.n > y->section.n) - (x->section.n < y->section.n);
	if (c == 0)
		c = strcmp(x->key, y->key);
	return c ? c : (x->line > y->line) - (x->line < y->line);
}

int ini_check(const struct ini *ini, const char *section, struct err *err)
{
	const struct ini_entry **sorted = mem_alloc((ini->n + 1) * sizeof *sorted), *twice = NULL;
	size_t first = 0, n = 0;

	for (size_t i = 0; i < ini->n; i++)
		if (!section || span_is(ini->entry[i].section, section))
			sorted[n++] = &ini->entry[i];
	qsort(sorted, n, sizeof *sorted, compare_entries);
	for (size_t i = 1; i < n; i++) {
		const struct ini_entry *a = sorted[i - 1], *b = sorted[i];
		if (!span_eq(a->section, b->section) || strcmp(a->key, b->key) != 0)
			continue;
		if (!*a->key && span_is(a->section, "DEFAULT"))
			continue;
		if (!twice || b->line < twice->line) {
			twice = b;
			first = a->line;
		}
	}
	free(sorted);
	if (!twice)
		return 0;
	if (*twice->key)
		return err_set(err, ERR_CONF, "line %zu: key %.200s is already set in line %zu",
			twice->line, twice->key, first);
	return err_set(err, ERR_CONF, "line %zu: section [%.*s] is already there in line %zu",
		twice->line, twice->section.n < 200 ? (int)twice->section.n : 200, twice->section.p,
		first);
}

/* Takes one line off *text; its end is \n, \r\n or \r. */
static struct span take_line(struct span *text)
{
	size_t n = 0;

	while (n < text->n && text->p[n] != '\n' && text->p[n] != '\r')
		n++;
	struct span line = { text->p, n };
	if (n < text->n)
		n += n + 1 < text->n && text->p[n] == '\r' && text->p[n + 1] == '\n' ? 2 : 1;
	text->p += n;
	text->n -= n;
	return line;
}

int ini_parse(struct ini *ini, struct span text, struct err *err)
{
	struct reader r = { .ini = ini, .err = err };

	if (text.n >= 3 && memcmp(text.p, "\xef\xbb\xbf", 3) == 0) {
		text.p += 3;
		text.n -= 3;
	}
	while (text.n && !err->code) {
		r.line++;
		read_line(&r, take_line(&text));
	}
	close_value(&r);
	buf_free(&r.value);
	return err->code;
}

void ini_free(struct ini *ini)
{
	for (size_t i = 0; i < ini->n; i++) {
		free(ini->entry[i].key);
		free(ini->entry[i].value);
	}
	free(ini->entry);
	*ini = (struct ini){ 0 };
}

static int interpolate(struct buf *out, const char *raw, ini_lookup *lookup, void *ctx, int depth,
	struct err *err)
{
	if (depth > INTERPOLATION_DEPTH_MAX)
		return err_set(err, ERR_CONF, "%%(name)s is circular, or nested deeper than %d",
			INTERPOLATION_DEPTH_MAX);
	for (const char *p = raw; *p && !err->code;) {
		size_t plain = strcspn(p, "%");
		buf_add(out, p, plain);
		p += plain;
		if (!*p)
			break;
		if (p[1] == '%') {
			buf_add(out, "%", 1);
			p += 2;
			continue;
		}
		if (p[1] != '(')
			return err_set(err, ERR_CONF, "'%%' must be followed by '%%' or '(': write"
				" %%%% for a percent sign");
		size_t n = strcspn(p + 2, ")");
		if (n == 0 || strncmp(p + 2 + n, ")s", 2) != 0)
			return err_set(err, ERR_CONF, "'%%(' without a name and ')s'");
		char *name = mem_lower(p + 2, n);
		const char *value = lookup(ctx, name);
		if (!value)
			err_set(err, ERR_CONF, "%%(%.200s)s: no such key", name);
		free(name);
		if (!value)
			return err->code;
		if (strchr(value, '%'))
			interpolate(out, value, lookup, ctx, depth + 1, err);
		else
			buf_str(out, value);
		p += n + 4;
	}
	return err->code;
}

char *ini_interpolate(const char *raw, ini_lookup *lookup, void *ctx, struct err *err)
{
	struct buf out = { 0 };

	if (interpolate(&out, raw, lookup, ctx, 1, err) < 0) {
		buf_free(&out);
		return NULL;
	}
	buf_cstr(&out);
	return out.p;
}

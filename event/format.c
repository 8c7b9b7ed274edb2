/*
 * The two formats of a row's values, urlencoded and JSON.
 */
#include <stdlib.h>

#include "private.h"

bool format_next_json(struct cursor *c, struct span *name, struct span *value, struct err *e)
{
	int rc = c->json.why ? -1 : json_next(&c->json, name, value);

	if (rc < 0)
		err_set(e, ERR_DATA, "ev_data is no JSON object: %s, at byte %zu", c->json.why,
			(size_t)(c->json.p - c->data.p));
	return rc > 0;
}

bool format_next_is_json(struct cursor *c, struct span name)
{
	struct json *j = &c->json;
	const char *p = j->p + !j->first;

	if (p < j->end && *p == ' ')
		p++;
	if (j->why || j->end - p <= (ptrdiff_t)name.n || p[name.n] != ':' ||
	    (!j->first && *j->p != ',') || !same_bytes(p, name.p, name.n))
		return false;
	j->p = p + name.n + 1;
	j->first = false;
	return true;
}

static const char *why(enum format format, struct span raw, size_t bad)
{
	size_t first;

	if (format == FORMAT_URLENC)
		return "bad escape";
	char *room = mem_alloc(raw.n);
	bool alone = json_decode(room, raw, 0, &first) >= 0 || first != bad;
	free(room);
	return alone ? "a \\u above ASCII, which src_db's encoding may not have (it is not UTF8):"
		" put the character itself" : "\\u0000 or half a surrogate pair";
}

int format_refuse(enum format format, struct span data, struct span raw, size_t bad,
	const struct span *column, struct err *e)
{
	struct buf shown = { 0 };

	if (column)
		buf_printable(&shown, *column, NAME_BYTES_MAX);
	err_set(e, ERR_DATA, "%s%s%s%s at byte %zu of ev_data", column ? "column " : "",
		buf_cstr(&shown), column ? ": " : "", why(format, raw, bad),
		(size_t)(raw.p - data.p) + bad);
	buf_free(&shown);
	return e->code;
}

/*
 * What ev_type says: the operation, and the primary key. pgq.logutriga writes I:id,day, and
 * pgq.jsontriga an object; an application writes what it likes.
 */
#include <string.h>

#include "private.h"

bool type_is_json(struct span type)
{
	return type.n > 0 && type.p[0] == '{';
}

/* Finds the object's member; its value must begin with open. false: no JSON, or not there. */
static bool find_member(struct span object, const char *quoted, char open, struct span *value)
{
	struct json j;
	struct span name, v;
	bool found = false;
	int rc = json_open(&j, object, '{');

	while (rc >= 0 && (rc = json_next(&j, &name, &v)) > 0)
		if (span_is(name, quoted)) {
			found = v.p && *v.p == open;
			*value = v;
		}
	return rc == 0 && found;
}

static struct span json_op(struct span type)
{
	static const struct { const char *quoted, *op; } ops[] = {
		{ "\"INSERT\"", "I" }, { "\"UPDATE\"", "U" }, { "\"DELETE\"", "D" },
		{ "\"TRUNCATE\"", "R" },
	};
	struct span op;

	if (find_member(type, "\"op\"", '"', &op))
		for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
			if (span_is(op, ops[i].quoted))
				return span_of(ops[i].op);
	return (struct span){ NULL, 0 };
}

struct span type_recall(struct type_memo *m, struct span type)
{
	size_t last = m->last, at;

	if (type.n == m->at[last].n && same_bytes(m->at[last].text, type.p, type.n))
		return m->at[last].op;
	if (type.n > sizeof m->at->text)
		return json_op(type);
	at = word_hash(type.p, type.n) % (sizeof m->at / sizeof *m->at);
	if (type.n != m->at[at].n || !same_bytes(m->at[at].text, type.p, type.n)) {
		m->at[at].n = type.n;
		memcpy(m->at[at].text, type.p, type.n);
		m->at[at].op = json_op(type);
	}
	m->last = at;
	return m->at[at].op;
}

struct span type_op(struct span type, bool payload)
{
	const char *colon = !payload && type.n ? memchr(type.p, ':', type.n) : NULL;

	if (type_is_json(type))
		return json_op(type);
	return colon ? (struct span){ type.p, (size_t)(colon - type.p) } : type;
}

/* ---- the primary key */

/* The name without blanks around it, as the trigger's argument "pkey=id, day" has them. */
static struct span trim(struct span name)
{
	struct span all = name;

	while (name.n && name.p[name.n - 1] == ' ')
		name.n--;
	while (name.n && *name.p == ' ') {
		name.p++;
		name.n--;
	}
	return name.n ? name : all;     /* a column's name may be a single blank */
}

/* The columns after the colon of "I:id,day". */
static size_t plain_pkey(struct span type, struct span *names, size_t max)
{
	const char *p = type.n ? memchr(type.p, ':', type.n) : NULL, *end = type.p + type.n;
	size_t n = 0;

	while (p && p + 1 < end && n < max) {
		const char *start = p + 1;
		p = memchr(start, ',', (size_t)(end - start));
		names[n++] = trim((struct span){ start, (size_t)((p ? p : end) - start) });
	}
	return n;
}

static size_t json_pkey(struct span type, struct buf *text, struct span *names, size_t max)
{
	struct json j;
	struct span list, none, name;
	size_t n = 0, bad;

	if (!find_member(type, "\"pkey\"", '[', &list) || json_open(&j, list, '[') < 0)
		return 0;
	buf_reserve(text, list.n);      /* the names stay where they are decoded to */
	while (n < max && json_next(&j, &none, &name) > 0) {
		ssize_t len = name.p ? json_decode(text->p + text->len, name, 0, &bad) : -1;
		if (len < 0)
			return 0;
		names[n++] = (struct span){ text->p + text->len, (size_t)len };
		text->len += (size_t)len;
	}
	return n;
}

size_t type_pkey(struct span type, struct buf *text, struct span *names, size_t max)
{
	return type_is_json(type) ? json_pkey(type, text, names, max) :
		plain_pkey(type, names, max);
}

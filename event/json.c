/*
 * The grammar of JSON events: RFC 8259, strictly.
 *
 * Splitting copies nothing: names and values are slices of the text, strings with their quotes. A
 * wanted value is then decoded, and escaped for COPY; an unwanted one is only checked. A check
 * returns 0, or -1 with the cursor at the byte at fault.
 */
#include <string.h>

#include "private.h"

#define DEPTH_MAX 64                    /* of nested values, the outermost included */

static int fail(struct json *j, const char *why)
{
	j->why = why;
	return -1;
}

static inline bool take(struct json *j, char c)
{
	bool there = j->p < j->end && *j->p == c;

	j->p += there;
	return there;
}

static inline void skip_blanks(struct json *j)
{
	while (j->p < j->end && (*j->p == ' ' || *j->p == '\n' || *j->p == '\t' || *j->p == '\r'))
		j->p++;
}

static inline bool take_token(struct json *j, char c)
{
	skip_blanks(j);
	return take(j, c);
}

/* 0x80 in each byte of x that is a control character or a backslash. */
static inline uint64_t special_bytes(uint64_t x)
{
	return word_zeros(x ^ WORD_EACH('\\')) | word_zeros(x & WORD_EACH(0xe0));
}

/* ---- splitting */

/* The number of four hexadecimal digits; -1: they are not digits. */
static long hex4(const char *p, const char *end)
{
	int high = end - p < 4 ? -1 : urlenc_hex(p), low = high < 0 ? -1 : urlenc_hex(p + 2);

	return low < 0 ? -1 : (long)high << 8 | low;
}

/* The first quote, backslash or control character from p on, or end. */
static inline const char *find_special(const char *p, const char *end)
{
	for (; end - p >= 8; p += 8) {
		uint64_t x = word_load(p), hit = special_bytes(x) | word_zeros(x ^ WORD_EACH('"'));
		if (hit)
			return p + word_first(hit);
	}
	while (p < end && *p != '"' && *p != '\\' && (unsigned char)*p >= ' ')
		p++;
	return p;
}

static int check_string(struct json *j)
{
	if (!take(j, '"'))
		return fail(j, "a string in double quotes is expected");
	while ((j->p = find_special(j->p, j->end)) < j->end && *j->p == '\\') {
		if (j->end - j->p < 2 || !j->p[1] || !strchr("\"\\/bfnrtu", j->p[1]) ||
		    (j->p[1] == 'u' && hex4(j->p + 2, j->end) < 0))
			return fail(j, "a bad escape");
		j->p += j->p[1] == 'u' ? 6 : 2;
	}
	return take(j, '"') ? 0 : fail(j, "a control character in a string, or no end of it");
}

static int check_digits(struct json *j)
{
	const char *start = j->p;

	while (j->p < j->end && *j->p >= '0' && *j->p <= '9')
		j->p++;
	return j->p > start ? 0 : fail(j, "a value or a digit is expected");
}

static int check_number(struct json *j)
{
	take(j, '-');
	if ((!take(j, '0') && check_digits(j) < 0) || (take(j, '.') && check_digits(j) < 0))
		return -1;
	if (!take(j, 'e') && !take(j, 'E'))
		return 0;
	if (!take(j, '+'))
		take(j, '-');
	return check_digits(j);
}

static int step(struct json *, struct span *name, struct span *value);

static int check_list(struct json *j)
{
	struct json list;
	struct span name, value;
	json_open(&list, (struct span){ j->p, (size_t)(j->end - j->p) }, *j->p);
	list.depth = j->depth + 1;
	int rc = j->depth < DEPTH_MAX ? 1 : fail(&list, "values are nested too deeply");
	while (rc > 0)
		rc = step(&list, &name, &value);
	j->p = list.p;
	j->why = list.why;
	return rc;
}

static int check_value(struct json *j)
{
	char c = j->p < j->end ? *j->p : 0;
	const char *word = c == 't' ? "true" : c == 'f' ? "false" : c == 'n' ? "null" : NULL;

	if (c == '"')
		return check_string(j);
	if (c == '{' || c == '[')
		return check_list(j);
	if (!word)
		return check_number(j);
	size_t n = strlen(word);
	if ((size_t)(j->end - j->p) < n || memcmp(j->p, word, n) != 0)
		return fail(j, "a value is expected");
	j->p += n;
	return 0;
}

struct span json_value(struct json *j)
{
	skip_blanks(j);
	const char *start = j->p;
	bool none = check_value(j) < 0 || *start == 'n';
	return none ? (struct span){ NULL, 0 } : (struct span){ start, (size_t)(j->p - start) };
}

/* As json_next; after 0 the text may continue. */
static int step(struct json *j, struct span *name, struct span *value)
{
	if (take_token(j, j->close))
		return 0;
	if (!j->first && !take_token(j, ','))
		return fail(j, "a comma or the closing bracket is expected");
	j->first = false;
	skip_blanks(j);
	const char *start = j->p;
	if (j->close == '}' && check_string(j) < 0)
		return -1;
	*name = (struct span){ start, (size_t)(j->p - start) };
	if (j->close == '}' && !take_token(j, ':'))
		return fail(j, "a colon is expected");
	*value = json_value(j);
	return j->why ? -1 : 1;
}

int json_open(struct json *j, struct span text, char open)
{
	*j = (struct json){ .p = text.p, .end = text.p + text.n, .depth = 1, .first = true };
	j->close = open == '{' ? '}' : ']';
	return take_token(j, open) ? 0 : fail(j, "another kind of value is expected");
}

int json_next(struct json *j, struct span *name, struct span *value)
{
	int rc = step(j, name, value);

	if (rc == 0)
		skip_blanks(j);
	return rc == 0 && j->p < j->end ? fail(j, "more text after the end") : rc;
}

/* ---- decoding */

/* Copies whole words from p on until one holds a backslash or a control character. */
static inline const char *copy_words(char **out, const char *p, const char *end)
{
	for (size_t n = 8; n == 8 && end - p >= 8; p += n, *out += n) {
		uint64_t x = word_load(p), special = special_bytes(x);
		memcpy(*out, &x, sizeof x);     /* the rest is overwritten later */
		n = special ? word_first(special) : 8;
	}
	return p;
}

/* The character of the escape at p, *n bytes; -1: none that text can hold. */
static long unescape(const char *p, const char *end, size_t *n)
{
	static const char letters[] = "bfnrt", meanings[] = "\b\f\n\r\t";
	const char *letter = strchr(letters, p[1]);

	*n = 2;
	if (p[1] != 'u')
		return letter ? meanings[letter - letters] : p[1];
	long high = hex4(p + 2, end);
	*n = 6;
	if (high < 0xd800 || high > 0xdfff)
		return high ? high : -1;
	if (high >= 0xdc00 || end - p < 12 || p[6] != '\\' || p[7] != 'u')
		return -1;
	long low = hex4(p + 8, end);
	*n = 12;
	return low < 0xdc00 || low > 0xdfff ? -1 : ((high & 0x3ff) << 10 | (low & 0x3ff)) + 0x10000;
}

static char *put_utf8(char *out, long c)
{
	int more = c >= 0x10000 ? 3 : c >= 0x800 ? 2 : 1;
	static const unsigned char lead[] = { 0, 0xc0, 0xe0, 0xf0 };

	*out++ = (char)(lead[more] | c >> (6 * more));
	while (more-- > 0)
		*out++ = (char)(0x80 | (c >> (6 * more) & 0x3f));
	return out;
}

static inline char *put_byte(char *out, char c, bool escape)
{
	bool special = escape && (c == '\\' || (c >= '\b' && c <= '\r'));

	*out = '\\';
	out += special;
	*out = special && c != '\\' ? "btnvfr"[c - '\b'] : c;
	return out + 1;
}

ssize_t json_decode(char *out, struct span raw, int flags, size_t *bad)
{
	bool quoted = *raw.p == '"', escape = flags & JSON_COPY;
	const char *p = raw.p + quoted, *end = raw.p + raw.n - quoted, *start = out;

	while ((p = copy_words(&out, p, end)) < end) {
		size_t n = 1;
		long c = quoted && *p == '\\' ? unescape(p, end, &n) : *p;
		*bad = (size_t)(p - raw.p);
		if (n > 1 && (c < 0 || (c >= 0x80 && flags & JSON_ASCII)))
			return -1;
		out = n > 1 && c >= 0x80 ? put_utf8(out, c) : put_byte(out, (char)c, escape);
		p += n;
	}
	return out - start;
}

/* Fuzzes splitting and decoding of JSON events against the slow way, and what an encoder writes. */
#include "../../event/json.c"
#include "slow.h"

/* ---- the grammar once more, a byte at a time: each function returns what follows p, or NULL */

static const char *slow_value(const char *p, const char *end, int depth);

static const char *slow_blanks(const char *p, const char *end)
{
	while (p < end && *p && strchr(" \t\r\n", *p))
		p++;
	return p;
}

static const char *slow_string(const char *p, const char *end)
{
	if (p == end || *p++ != '"')
		return NULL;
	for (; p < end && *p != '"'; p++) {
		if ((unsigned char)*p < ' ')
			return NULL;
		if (*p != '\\')
			continue;
		if (++p == end || !*p || !strchr("\"\\/bfnrtu", *p))
			return NULL;
		for (int i = 0; *p == 'u' && i < 4; i++)
			if (end - p < 5 || !isxdigit((unsigned char)p[i + 1]))
				return NULL;
		p += *p == 'u' ? 4 : 0;
	}
	return p < end ? p + 1 : NULL;
}

static const char *slow_digits(const char *p, const char *end)
{
	const char *start = p;

	while (p < end && isdigit((unsigned char)*p))
		p++;
	return p > start ? p : NULL;
}

static const char *slow_number(const char *p, const char *end)
{
	p += p < end && *p == '-';
	p = p < end && *p == '0' ? p + 1 : slow_digits(p, end);
	if (p && p < end && *p == '.')
		p = slow_digits(p + 1, end);
	if (p && p < end && (*p == 'e' || *p == 'E')) {
		p++;
		p = slow_digits(p + (p < end && (*p == '+' || *p == '-')), end);
	}
	return p;
}

static const char *slow_member(const char *p, const char *end, int depth)
{
	p = slow_string(p, end);
	p = p ? slow_blanks(p, end) : NULL;
	if (!p || p == end || *p != ':')
		return NULL;
	return slow_value(slow_blanks(p + 1, end), end, depth);
}

static const char *slow_list(const char *p, const char *end, int depth)
{
	char close = *p == '{' ? '}' : ']';

	if (depth > DEPTH_MAX)
		return NULL;
	p = slow_blanks(p + 1, end);
	if (p < end && *p == close)
		return p + 1;
	for (;;) {
		p = close == '}' ? slow_member(p, end, depth + 1) : slow_value(p, end, depth + 1);
		p = p ? slow_blanks(p, end) : NULL;
		if (!p || p == end || (*p != ',' && *p != close))
			return NULL;
		if (*p == close)
			return p + 1;
		p = slow_blanks(p + 1, end);
	}
}

static const char *slow_value(const char *p, const char *end, int depth)
{
	static const char *const words[] = { "true", "false", "null" };

	for (int i = 0; i < 3; i++)
		if ((size_t)(end - p) >= strlen(words[i]) &&
		    memcmp(p, words[i], strlen(words[i])) == 0)
			return p + strlen(words[i]);
	if (p == end)
		return NULL;
	if (*p == '{' || *p == '[')
		return slow_list(p, end, depth);
	return *p == '"' ? slow_string(p, end) : slow_number(p, end);
}

static bool slow_is_object(struct span text)
{
	const char *end = text.p + text.n, *p = slow_blanks(text.p, end);

	p = p < end && *p == '{' ? slow_list(p, end, 1) : NULL;
	return p && slow_blanks(p, end) == end;
}

/* ---- decoding */

static void slow_utf8(struct buf *out, long c)
{
	static const struct { long limit; int lead, more; } sizes[] = {
		{ 0x80, 0, 0 }, { 0x800, 0xc0, 1 }, { 0x10000, 0xe0, 2 }, { 0x110000, 0xf0, 3 },
	};
	int i = 0;

	while (c >= sizes[i].limit)
		i++;
	slow_put(out, (int)(sizes[i].lead | c >> (6 * sizes[i].more)));
	for (int k = sizes[i].more; k-- > 0;)
		slow_put(out, (int)(0x80 | (c >> (6 * k) & 0x3f)));
}

static long slow_hex4(const char *p)
{
	char hex[5] = { p[0], p[1], p[2], p[3], 0 };

	return strtol(hex, NULL, 16);
}

/* false: a string that is no text, from offset *bad on. */
static bool slow_json(struct buf *out, struct span raw, size_t *bad)
{
	static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";

	if (*raw.p != '"') {
		buf_add(out, raw.p, raw.n);
		return true;
	}
	for (size_t i = 1; i < raw.n - 1; i++) {
		*bad = i;
		if (raw.p[i] != '\\') {
			slow_put(out, raw.p[i]);
			continue;
		}
		char c = raw.p[++i];
		if (c != 'u') {
			slow_put(out, strchr(from, c) ? to[strchr(from, c) - from] : c);
			continue;
		}
		long code = slow_hex4(raw.p + i + 1);
		i += 4;
		if (code >= 0xd800 && code < 0xdc00 && i + 7 < raw.n &&
		    raw.p[i + 1] == '\\' && raw.p[i + 2] == 'u') {
			long low = slow_hex4(raw.p + i + 3);
			if (low < 0xdc00 || low > 0xdfff)
				return false;
			code = 0x10000 + (code - 0xd800) * 0x400 + low - 0xdc00;
			i += 6;
		} else if (code == 0 || (code >= 0xd800 && code < 0xe000)) {
			return false;
		}
		slow_utf8(out, code);
	}
	return true;
}

/* What COPY's text format makes of the bytes. */
static void slow_escape(struct buf *out, struct span text)
{
	static const char from[] = "\b\t\n\v\f\r\\", to[] = "btnvfr\\";

	for (size_t i = 0; i < text.n; i++) {
		const char *letter = text.p[i] ? strchr(from, text.p[i]) : NULL;
		if (letter)
			slow_put(out, '\\');
		slow_put(out, letter ? to[letter - from] : text.p[i]);
	}
}

static void check_decode(struct span raw)
{
	struct buf want = { 0 }, escaped = { 0 };
	size_t bad = 0, want_bad = 0;
	char *plain = fuzz_room(raw.n), *copy = fuzz_room(2 * raw.n);
	ssize_t n = json_decode(plain, raw, 0, &bad);

	if (!slow_json(&want, raw, &want_bad)) {
		CHECK(n == -1 && bad == want_bad);
		CHECK(json_decode(copy, raw, JSON_COPY, &bad) == -1 && bad == want_bad);
	} else {
		struct span text = { want.p, want.len };
		CHECK(n >= 0 && span_eq((struct span){ plain, (size_t)n }, text));
		slow_escape(&escaped, text);
		n = json_decode(copy, raw, JSON_COPY, &bad);
		CHECK(n >= 0 && span_eq((struct span){ copy, (size_t)n },
			(struct span){ escaped.p, escaped.len }));
	}
	buf_free(&want);
	buf_free(&escaped);
	free(plain);
	free(copy);
}

/* ---- the target */

static void check_object(struct span text)
{
	struct json j;
	struct span name, value;
	const char *last = text.p;
	int rc = json_open(&j, text, '{');

	while (rc >= 0 && (rc = json_next(&j, &name, &value)) > 0) {
		CHECK(fuzz_within(name, text) && name.p > last);
		CHECK(slow_string(name.p, name.p + name.n) == name.p + name.n);
		check_decode(name);
		last = name.p + name.n;
		if (!value.p)
			continue;
		CHECK(fuzz_within(value, text) && value.p > last);
		CHECK(slow_value(value.p, value.p + value.n, 2) == value.p + value.n);
		check_decode(value);
		last = value.p + value.n - 1;
	}
	CHECK((rc == 0) == slow_is_object(text));
	CHECK(rc == 0 || (j.why && *j.why && j.p >= text.p && j.p <= text.p + text.n));
}

/* Any bytes as a string that an encoder writes come back. */
static void check_string_of(struct span text)
{
	struct buf event = { 0 };
	struct json j;
	struct span name, value;
	size_t bad;

	buf_str(&event, "{\"a\": \"");
	for (size_t i = 0; i < text.n; i++) {
		unsigned char c = (unsigned char)text.p[i];
		if (c < ' ' || c == '"' || c == '\\')
			buf_fmt(&event, "\\u%04x", c);
		else
			slow_put(&event, c);
	}
	buf_str(&event, "\"}");
	CHECK(json_open(&j, (struct span){ event.p, event.len }, '{') == 0);
	CHECK(json_next(&j, &name, &value) == 1);
	char *out = fuzz_room(value.n);
	ssize_t n = json_decode(out, value, 0, &bad);
	if (text.n && memchr(text.p, 0, text.n))
		CHECK(n == -1);
	else
		CHECK(n >= 0 && span_eq((struct span){ out, (size_t)n }, text));
	CHECK(json_next(&j, &name, &value) == 0);
	free(out);
	buf_free(&event);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span text = fuzz_copy((const char *)data, size);

	check_object(text);
	check_string_of(text);
	fuzz_free(text);
	return 0;
}

/* Tests of buf.c: quoting for SQL and for a person's eyes, growth, struct err. */
#include "../../base/buf.c"
#include "unit.h"

#define A63 "abcdefghijklmnopqrstuvwxyz_0123456789_abcdefghijklmnopqrstuvwxy"

static const struct { struct span name; const char *wanted; } idents[] = {
	{ TEXT("id"), "id" },
	{ TEXT("order_date"), "order_date" },
	{ TEXT("_"), "_" },
	{ TEXT("_2026"), "_2026" },
	{ TEXT("a1"), "a1" },
	{ TEXT("name"), "name" },
	{ TEXT("key"), "key" },
	{ TEXT("selects"), "selects" },
	{ TEXT("orders_2026_01_31"), "orders_2026_01_31" },
	{ TEXT(A63), A63 },
	{ TEXT(A63 "x"), "\"" A63 "x\"" },
	{ TEXT("1a"), "\"1a\"" },
	{ TEXT("2026"), "\"2026\"" },
	{ TEXT("Orders"), "\"Orders\"" },
	{ TEXT("orderS"), "\"orderS\"" },
	{ TEXT("a b"), "\"a b\"" },
	{ TEXT("a.b"), "\"a.b\"" },
	{ TEXT("a$b"), "\"a$b\"" },
	{ TEXT("a-b"), "\"a-b\"" },
	{ TEXT("a;b"), "\"a;b\"" },
	{ TEXT("a'b"), "\"a'b\"" },
	{ TEXT("a\\b"), "\"a\\b\"" },
	{ TEXT("\""), "\"\"\"\"" },
	{ TEXT("\"\""), "\"\"\"\"\"\"" },
	{ TEXT("a\"b"), "\"a\"\"b\"" },
	{ TEXT("x\"; drop table y; --"), "\"x\"\"; drop table y; --\"" },
	{ TEXT("\xc3\x96" "dd"), "\"\xc3\x96" "dd\"" },
	{ TEXT("gr\xc3\xb6\xc3\x9f" "e"), "\"gr\xc3\xb6\xc3\x9f" "e\"" },
	{ TEXT("\n"), "\"\n\"" },
	{ TEXT("`"), "\"`\"" },
	{ TEXT("{"), "\"{\"" },
	{ TEXT("/"), "\"/\"" },
	{ TEXT(":"), "\":\"" },
	{ TEXT(""), "\"\"" },
	{ TEXT("user"), "\"user\"" },
	{ TEXT("USER"), "\"USER\"" },
	{ TEXT("order"), "\"order\"" },
	{ TEXT("left"), "\"left\"" },
	{ TEXT("system_user"), "\"system_user\"" },
};

/* value, as a literal */
static const struct { struct span value; const char *wanted; } literals[] = {
	{ TEXT(""), "''" },
	{ TEXT("a"), "'a'" },
	{ TEXT("'"), "''''" },
	{ TEXT("it's"), "'it''s'" },
	{ TEXT("''"), "''''''" },
	{ TEXT("a\"b"), "'a\"b'" },
	{ TEXT("$$"), "'$$'" },
	{ TEXT("\\"), "E'\\\\'" },
	{ TEXT("\\'"), "E'\\\\'''" },
	{ TEXT("'\\"), "E'''\\\\'" },
	{ TEXT("a\\nb"), "E'a\\\\nb'" },
	{ TEXT("x'; drop table y; --"), "'x''; drop table y; --'" },
	{ TEXT("x\\'; drop table y; --"), "E'x\\\\''; drop table y; --'" },
	{ TEXT("\n\t"), "'\n\t'" },
	{ TEXT("\xc3\x96"), "'\xc3\x96'" },
	{ TEXT("2026-01-31 10:00:00+02:00"), "'2026-01-31 10:00:00+02:00'" },
};

static const struct { struct span value; size_t max; const char *wanted; } printables[] = {
	{ TEXT(""), 10, "" },
	{ TEXT("abc"), 10, "abc" },
	{ TEXT("abc"), 3, "abc" },
	{ TEXT("abcd"), 3, "abc..." },
	{ TEXT("abc"), 0, "..." },
	{ TEXT(" ~"), 10, " ~" },
	{ TEXT("\x1f\x7f"), 10, "\\x1f\\x7f" },
	{ TEXT("a\nb\tc\rd"), 10, "a\\x0ab\\x09c\\x0dd" },
	{ TEXT("\x1b[31m"), 10, "\\x1b[31m" },
	{ TEXT("\0"), 10, "\\x00" },
	{ TEXT("\xc3\x96\xff"), 10, "\\xc3\\x96\\xff" },
	{ TEXT("\xc3\x96"), 1, "\\xc3..." },
	{ TEXT("it's \"so\""), 20, "it's \"so\"" },
};

static void test_quoting(void)
{
	struct buf got = { 0 };

	for (size_t i = 0; i < COUNT(idents); i++) {
		buf_ident(&got, idents[i].name);
		check_buf("ident", idents[i].name, &got, idents[i].wanted);
	}
	for (size_t i = 0; i < COUNT(literals); i++) {
		buf_literal(&got, literals[i].value);
		check_buf("literal", literals[i].value, &got, literals[i].wanted);
	}
	for (size_t i = 0; i < COUNT(printables); i++) {
		buf_printable(&got, printables[i].value, printables[i].max);
		check_buf("printable", printables[i].value, &got, printables[i].wanted);
	}
	buf_free(&got);
}

static void test_qualified(void)
{
	static const struct { const char *schema, *name, *wanted; } table[] = {
		{ "", "orders", "orders" },
		{ NULL, "orders", "orders" },
		{ "public", "orders", "public.orders" },
		{ "My", "Orders", "\"My\".\"Orders\"" },
		{ "a.b", "c.d", "\"a.b\".\"c.d\"" },
		{ "user", "table", "\"user\".\"table\"" },
	};
	struct buf got = { 0 };

	for (size_t i = 0; i < COUNT(table); i++) {
		buf_qualified(&got, span_of(table[i].schema), span_of(table[i].name));
		check_buf("qualified", span_of(table[i].wanted), &got, table[i].wanted);
	}
	buf_free(&got);
}

static void test_made_of_quoted(void)
{
	struct buf got = { 0 };

	buf_regclass(&got, span_of("a.b"), span_of("it's"));
	check_buf("regclass", span_of("it's"), &got,
		"pg_catalog.to_regclass('\"a.b\".\"it''s\"')::pg_catalog.oid");
	buf_json(&got, "a\"b\\c\n\x01\xc3\xa4");
	check_buf("json", span_of("string"), &got, "\"a\\\"b\\\\c\\n\\u0001\xc3\xa4\"");
	buf_json(&got, "");
	check_buf("json", span_of("nothing"), &got, "\"\"");
	buf_free(&got);
}

/* The search in the list of keywords needs its order; every one of them is quoted. */
static void test_keywords(void)
{
	struct buf got = { 0 }, wanted = { 0 };
	size_t quoted = 0, ordered = 1;

	for (size_t i = 0; i < COUNT(reserved); i++) {
		got.len = wanted.len = 0;
		buf_ident(&got, span_of(reserved[i]));
		buf_fmt(&wanted, "\"%s\"", reserved[i]);
		quoted += strcmp(buf_cstr(&got), buf_cstr(&wanted)) == 0;
		ordered += i > 0 && strcmp(reserved[i - 1], reserved[i]) < 0;
	}
	check_int("keywords that are quoted", (int64_t)quoted, (int64_t)COUNT(reserved));
	check_int("keywords in order", (int64_t)ordered, (int64_t)COUNT(reserved));
	buf_free(&got);
	buf_free(&wanted);
}

/* A quoted name of any bytes, read as SQL reads it, is the name. */
static void test_ident_bytes(void)
{
	struct buf got = { 0 };
	int wrong = 0;

	for (int c = 1; c < 256; c++) {
		char name[3] = { (char)c, 'x', (char)c };
		size_t n = 0;
		got.len = 0;
		buf_ident(&got, (struct span){ name, 3 });
		if (got.p[0] != '"') {
			wrong += got.len != 3 || memcmp(got.p, name, 3) != 0 ||
				!(c == '_' || (c >= 'a' && c <= 'z'));
			continue;
		}
		for (size_t i = 1; i + 1 < got.len; i++, n++) {
			i += got.p[i] == '"';
			wrong += n >= 3 || got.p[i] != name[n];
		}
		wrong += n != 3 || got.p[got.len - 1] != '"';
	}
	check_int("names with each byte: how many are wrong", wrong, 0);
	buf_free(&got);
}

static void test_growth(void)
{
	struct buf b = { 0 };
	size_t wrong = 0;

	for (size_t i = 0; i < 100000; i++) {
		char c = (char)(i % 251);
		buf_add(&b, &c, 1);
		wrong += b.len != i + 1 || b.len > b.cap;
	}
	for (size_t i = 0; i < b.len; i++)
		wrong += b.p[i] != (char)(i % 251);
	check_int("growth byte by byte: what is wrong", (int64_t)wrong, 0);

	size_t len = b.len;
	memset(buf_reserve(&b, 1000000), 'x', 1000000);
	check_int("buf_reserve keeps the length", (int64_t)b.len, (int64_t)len);
	check_int("buf_reserve makes room", b.cap - b.len >= 1000000, 1);
	check_int("buf_reserve keeps the bytes", b.p[0] == 0 &&
		b.p[len - 1] == (char)((len - 1) % 251), 1);
	check_int("buf_reserve says where", buf_reserve(&b, 5) == b.p + b.len, 1);
	buf_free(&b);
	check_int("buf_free leaves an empty buffer", !b.p && b.len == 0 && b.cap == 0, 1);
	buf_free(&b);

	for (size_t n = 60; n < 70; n++) {      /* around the first size */
		memset(buf_reserve(&b, n), 'x', n);
		b.len = n;
		wrong += strlen(buf_cstr(&b)) != n || b.len != n;
		buf_free(&b);
		buf_fmt(&b, "%*d", (int)n, 1);
		wrong += b.len != n;
		buf_free(&b);
	}
	check_int("buf_cstr and buf_fmt find room for their NUL", (int64_t)wrong, 0);
}

static void test_adding(void)
{
	struct buf b = { 0 };
	char longer[5000];

	check_str("buf_cstr of an empty buffer", buf_cstr(&b), "");
	buf_add(&b, NULL, 0);
	buf_str(&b, "a");
	buf_fmt(&b, "-%d-%s-", 12, "b");
	check_str("adding", buf_cstr(&b), "a-12-b-");
	buf_str(&b, "");
	buf_fmt(&b, "%s", "");
	check_int("adding nothing", (int64_t)b.len, 7);
	buf_add(&b, "x\0y", 3);
	check_span("adding", span_of("NUL"), (struct span){ b.p, b.len },
		(struct span)TEXT("a-12-b-x\0y"));
	b.len = 0;
	memset(longer, 'z', sizeof longer);
	longer[sizeof longer - 1] = 0;
	buf_fmt(&b, "<%s>", longer);
	check_int("a long format: its length", (int64_t)b.len, (int64_t)sizeof longer + 1);
	check_int("a long format: its end", b.p[b.len - 1], '>');
	buf_free(&b);
}

static void test_spans(void)
{
	char *copy = mem_str("abcdef", 3);

	check_str("mem_str copies n bytes", copy, "abc");
	free(copy);
	copy = mem_str(NULL, 0);
	check_str("mem_str of nothing", copy, "");
	free(copy);
	copy = mem_lower("AZ@[az\xc3\x84Q", 8);
	check_str("mem_lower", copy, "az@[az\xc3\x84");
	free(copy);

	int64_t *at = NULL;
	size_t cap = 0, wrong = 0;
	for (size_t i = 0; i < 1000; i++) {
		at = mem_grow(at, i, &cap, sizeof *at);
		at[i] = (int64_t)i;
		wrong += cap <= i;
	}
	for (size_t i = 0; i < 1000; i++)
		wrong += at[i] != (int64_t)i;
	check_int("mem_grow: what is wrong", (int64_t)wrong, 0);
	free(at);
	check_int("span_of NULL", span_of(NULL).p == NULL && span_of(NULL).n == 0, 1);
	check_int("span_of", (int64_t)span_of("abc").n, 3);
	check_int("span_is", span_is(span_of("abc"), "abc"), 1);
	check_int("span_is: longer", span_is(span_of("abcd"), "abc"), 0);
	check_int("span_is: shorter", span_is(span_of("ab"), "abc"), 0);
	check_int("span_is: empty", span_is(span_of(""), ""), 1);
	check_int("span_is: NULL is not empty", span_is(span_of(NULL), ""), 0);
	check_int("span_is: NUL byte", span_is((struct span)TEXT("abc\0"), "abc"), 0);
	check_int("span_eq", span_eq(span_of("abc"), span_of("abc")), 1);
	check_int("span_eq: other bytes", span_eq(span_of("abc"), span_of("abd")), 0);
	check_int("span_eq: behind a NUL byte",
		span_eq((struct span)TEXT("a\0b"), (struct span)TEXT("a\0c")), 0);
	check_int("span_eq: nothing", span_eq(span_of(""), span_of("")), 1);
}

/* Other processes may hold locks by these numbers. */
static void test_hash(void)
{
	static const struct { const char *kind; struct span s; uint64_t wanted; } table[] = {
		{ "", TEXT(""), UINT64_C(0xaf64724c8602eb6e) },
		{ "part", TEXT("orders_2026"), UINT64_C(0xfabd9493c439adab) },
		{ "a", TEXT("b\0\xff"), UINT64_C(0xa033542c1959f8f4) },
		{ "ab", TEXT(""), UINT64_C(0xe7202e190542452f) },
	};

	for (size_t i = 0; i < COUNT(table); i++)
		check_int("span_hash", (int64_t)span_hash(table[i].kind, table[i].s),
			(int64_t)table[i].wanted);
}

static void test_err(void)
{
	struct err e = { 0 };
	char longer[3000];

	check_int("err_set returns its code", err_set(&e, ERR_DATA, "first %d", 1), ERR_DATA);
	check_int("err_set keeps the first code", err_set(&e, ERR_CONF, "second"), ERR_DATA);
	check_str("err_set keeps the first message", e.msg, "first 1");
	e = (struct err){ 0 };
	memset(longer, 'm', sizeof longer);
	longer[sizeof longer - 1] = 0;
	err_set(&e, ERR_OTHER, "%s", longer);
	check_int("err_set cuts a long message", (int64_t)strlen(e.msg), (int64_t)sizeof e.msg - 1);
}

int main(void)
{
	test_quoting();
	test_qualified();
	test_made_of_quoted();
	test_keywords();
	test_ident_bytes();
	test_growth();
	test_adding();
	test_spans();
	test_hash();
	test_err();
	return unit_end();
}

/*
 * Tests of filter.c, type.c and told.c: the config's lists, what ev_type says, and the values of
 * words.
 *
 * Linked with: base/buf.c base/tally.c urlenc.c event/date.c event/json.c event/format.c
 */
#include "../../event/filter.c"
#include "../../event/type.c"
#include "../../event/told.c"
#include "unit.h"

static void test_lists(void)
{
	static const struct { const char *list; const char *items; bool good; } table[] = {
		{ NULL, "", true }, { "", "[]", false }, { "a", "[a]", true },
		{ " a ,\n\tb c, d", "[a][b c][d]", true }, { "a,,b", "[a][][b]", false },
		{ "a,", "[a][]", false }, { ",", "[][]", false }, { "a.b, *", "[a.b][*]", true },
	};

	for (size_t i = 0; i < COUNT(table); i++) {
		const char *list = table[i].list;
		struct buf got = { 0 };
		struct span item;
		while (filter_next(&list, &item))
			buf_fmt(&got, "[%.*s]", (int)item.n, item.p);
		check_buf("items", span_of(table[i].list), &got, table[i].items);
		check_int("is a list", filter_is_list(table[i].list), table[i].good);
		buf_free(&got);
	}
	check_int("has a", filter_has("b, a", span_of("a")), true);
	check_int("has A", filter_has("b, a", span_of("A")), false);
	check_int("has nothing", filter_has(NULL, span_of("a")), false);
	check_int("has a part", filter_has("ab", span_of("a")), false);
}

static void test_ops(void)
{
	static const struct { struct span type; bool payload; const char *op; } table[] = {
		{ TEXT("I:id"), false, "I" }, { TEXT("D:"), false, "D" }, { TEXT("R"), false, "R" },
		{ TEXT(":x"), false, "" }, { TEXT("a:b:c"), false, "a" }, { TEXT("a:b"), true,
			"a:b" },
		{ TEXT(""), false, "" }, { TEXT("order.created"), true, "order.created" },
		{ TEXT("{\"op\":\"INSERT\",\"table\":[\"public\",\"t\"],\"pkey\":[\"id\"]}"),
			true, "I" },
		{ TEXT("{\"table\":[], \"op\" : \"UPDATE\"}"), true, "U" },
		{ TEXT("{\"op\":\"DELETE\"}"), false, "D" }, { TEXT("{\"op\":\"TRUNCATE\"}"),
			true, "R" },
		{ TEXT("{\"op\":\"insert\"}"), true, NULL }, { TEXT("{\"op\":\"INSERT\"} "), true,
			"I" },
		{ TEXT("{\"op\":\"INSERT\"}x"), true, NULL }, { TEXT("{\"op\":\"INSERT\""), true,
			NULL },
		{ TEXT("{\"op\":1}"), true, NULL }, { TEXT("{}"), true, NULL }, { TEXT("{"), true,
			NULL },
	};

	struct type_memo memo = { 0 };

	for (size_t i = 0; i < COUNT(table); i++)
		check_span("op", table[i].type, type_op(table[i].type, table[i].payload),
			span_of(table[i].op));
	for (size_t i = 0; i < 4 * COUNT(table); i++) {
		struct span type = table[i / 2 % COUNT(table)].type;
		if (type_is_json(type))
			check_span("op recalled", type, type_recall(&memo, type),
				type_op(type, true));
	}
}

/* More types than are remembered, and some that are too long for it. */
static void test_many_ops(void)
{
	static const char *const ops[][2] = {
		{ "INSERT", "I" }, { "UPDATE", "U" }, { "DELETE", "D" }, { "UPSERT", NULL },
	};
	struct type_memo memo = { 0 };
	struct buf type = { 0 };

	for (size_t i = 0; i < 5000; i++) {
		type.len = 0;
		buf_fmt(&type, "{\"op\":\"%s\",\"table\":[\"public\",\"%0*zu\"]}",
			ops[i % 4][0], (int)(i % 251), i % 117);
		char *exact = unit_exact((struct span){ type.p, type.len });
		check_span("op of many", (struct span){ type.p, type.len },
			type_recall(&memo, (struct span){ exact, type.len }),
			span_of(ops[i % 4][1]));
		free(exact);
	}
	buf_free(&type);
}

static void test_keys(void)
{
	static const struct { struct span type; const char *names; } table[] = {
		{ TEXT("I:id"), "[id]" }, { TEXT("I:id, day ,c"), "[id][day][c]" }, { TEXT("I:"),
			"" },
		{ TEXT("I"), "" }, { TEXT("I: "), "[ ]" },
		{ TEXT("{\"op\":\"INSERT\",\"pkey\":[\"id\", \"d\\u0061y\",\"q\\\"\"]}"),
			"[id][day][q\"]" },
		{ TEXT("{\"pkey\":[]}"), "" }, { TEXT("{\"pkey\":null}"), "" },
		{ TEXT("{\"pkey\":[\"a\\u0000\"]}"), "" }, { TEXT("{\"pkey\":[null]}"), "" },
		{ TEXT("{\"pkey\":[\"a\"]"), "" }, { TEXT("{\"pkey\":[\"1\",\"2\",\"3\",\"4\"]}"),
			"[1][2][3]" },
	};

	for (size_t i = 0; i < COUNT(table); i++) {
		struct buf text = { 0 }, got = { 0 };
		struct span names[3];
		size_t n = type_pkey(table[i].type, &text, names, 3);
		for (size_t k = 0; k < n; k++)
			buf_fmt(&got, "[%.*s]", (int)names[k].n, names[k].p);
		check_buf("pkey", table[i].type, &got, table[i].names);
		buf_free(&text);
		buf_free(&got);
	}
}

static void check_told(const char *word, const struct event *ev, const char *wanted)
{
	enum told t = told_word(span_of(word));
	char *out = mem_alloc(told_room(ev, t));
	size_t n = told_copy(out, ev, t);

	check_span(word, span_of(wanted), (struct span){ out, n }, span_of(wanted));
	free(out);
}

static void check_time(int64_t us, const char *wanted)
{
	const struct event ev = { .time = us };

	check_told("_EVTIME", &ev, wanted);
}

static void test_words(void)
{
	const struct event ev = {
		.id = INT64_MAX, .txid = -1, .tick = INT64_MIN, .type = TEXT("a\t\\b"),
			.op = TEXT("a"),
	};

	check_told("_OP", &ev, "a");
	check_told("_EVTYPE", &ev, "a\\t\\\\b");
	check_told("_EVID", &ev, "9223372036854775807");
	check_told("_TXID", &ev, "-1");
	check_told("_TICK", &ev, "-9223372036854775808");
	check_told("_TABLE", &ev, "\\N");
	check_int("another word", told_word(span_of("_op")), TOLD_NOTHING);
	check_time(0, "2000-01-01 00:00:00.000000+00");
	check_time(-1, "1999-12-31 23:59:59.999999+00");
	check_time(INT64_C(860000000000000001), "29252-04-24 16:53:20.000001+00");
	check_time(INT64_C(-63113904000000000), "0001-01-01 00:00:00.000000+00 BC");
	check_time(INT64_MAX, "infinity");
	check_time(INT64_MIN, "-infinity");
}

static void check_binary(const char *word, enum binary_kind kind, const struct event *ev,
	const char *wanted)
{
	enum told t = told_word(span_of(word));
	char *out = mem_alloc(BINARY_WORD + told_room(ev, t));
	ssize_t n = told_binary(out, kind, ev, t);
	struct buf got = { 0 };

	for (ssize_t i = 0; i < n; i++)
		buf_fmt(&got, "%02x", (unsigned char)out[i]);
	buf_str(&got, n < 0 ? "-" : "");
	check_buf(word, span_of(wanted), &got, wanted);
	buf_free(&got);
	free(out);
}

static void test_binary(void)
{
	const struct event ev = {
		.id = 258, .txid = INT64_C(1) << 40, .time = 1, .type = TEXT("I:id"),
			.op = TEXT("I"),
	};

	check_binary("_EVID", BINARY_INT8, &ev, "000000080000000000000102");
	check_binary("_EVID", BINARY_INT4, &ev, "0000000400000102");
	check_binary("_EVID", BINARY_INT2, &ev, "-");
	check_binary("_EVID", BINARY_TEXT, &ev, "00000003323538");
	check_binary("_TXID", BINARY_INT4, &ev, "-");
	check_binary("_EVTIME", BINARY_TIMESTAMPTZ, &ev, "000000080000000000000001");
	check_binary("_EVTIME", BINARY_TIMESTAMP, &ev, "000000080000000000000001");
	check_binary("_EVTIME", BINARY_INT8, &ev, "-");
	check_binary("_EVTIME", BINARY_DATE, &ev, "-");
	check_binary("_EVID", BINARY_TIMESTAMP, &ev, "-");
	check_binary("_OP", BINARY_TEXT, &ev, "0000000149");
	check_binary("_OP", BINARY_BOOL, &ev, "-");
	check_binary("_TABLE", BINARY_TEXT, &ev, "ffffffff");
	check_binary("_TABLE", BINARY_INT8, &ev, "ffffffff");
}

int main(void)
{
	test_lists();
	test_ops();
	test_many_ops();
	test_keys();
	test_words();
	test_binary();
	return unit_end();
}

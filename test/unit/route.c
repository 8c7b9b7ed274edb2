/*
 * Tests of route.c: which columns a row has, and where in the event they stand.
 *
 * Linked with: base/buf.c base/hash.c base/tally.c urlenc.c event/json.c event/format.c
 * event/filter.c event/shape.c event/shapes.c event/wanted.c event/filling.c
 */
#include "../../event/route.c"
#include "unit.h"

static struct route *new_route(const struct field *fields, size_t n, const char *part_field)
{
	const struct columns columns = {
		.field = fields, .n = n, .all = !fields, .part_field = part_field,
	};

	return route_new(&columns);
}

/* What a route made of a row: (columns) value, value | the partition column's value; values still
 * encoded, in brackets. Or the message, after "data: ". */
static void put_row(struct buf *got, struct route *r, struct span data)
{
	struct err e = { 0 };
	const struct shape *shape = NULL;
	const struct span *values = NULL;
	struct span part = { NULL, 0 };
	char *copy = unit_exact(data);
	enum format format = data.n && *data.p == '{' ? FORMAT_JSON : FORMAT_URLENC;
	int code = route_row(r, format, (struct span){ copy, data.n }, &shape, &values, &part, &e);

	if (code != e.code)
		buf_fmt(got, "(returned %d for %d)", code, e.code);
	if (code) {
		buf_fmt(got, "%s: %s", unit_err(code), e.msg);
		free(copy);
		return;
	}
	buf_fmt(got, "(%s)", shape->columns);
	for (size_t i = 0; i < shape->n - shape->nword; i++) {
		buf_str(got, i ? ", " : " ");
		buf_str(got, values[i].p ? "[" : "NULL");
		buf_add(got, values[i].p, values[i].n);
		buf_str(got, values[i].p ? "]" : "");
	}
	if (part.p) {
		buf_str(got, " | ");
		buf_add(got, part.p, part.n);
	}
	free(copy);
}

/* ---- rows, one after the other through one route */

struct sequence {
	const char *name, *fields, *part_field;         /* fields: "a, b:c", or "*" */
	struct { struct span data; const char *wanted; } row[12];
};

static const struct sequence sequences[] = {
	{ "a list", "id, day", NULL, {
		{ TEXT("id=1&day=2026-01-31"), "(id, day) [1], [2026-01-31]" },
		{ TEXT("day=2026-01-31&id=1"), "(id, day) [1], [2026-01-31]" },
		{ TEXT("id=2&day=2026-02-01"), "(id, day) [2], [2026-02-01]" },
		{ TEXT("x=9&id=1&y&day=2&z="), "(id, day) [1], [2]" },
		{ TEXT("id&day="), "(id, day) NULL, []" },
		{ TEXT("id=%31&day=a+b"), "(id, day) [%31], [a+b]" },
		{ TEXT("%69d=1&d%61y=2"), "(id, day) [1], [2]" },
		{ TEXT("&&id=1&&day=2&"), "(id, day) [1], [2]" },
		{ TEXT("id=1&day=a=b"), "(id, day) [1], [a=b]" },
		{ TEXT("ID=1&Day=2&id=3&day=4"), "(id, day) [3], [4]" },
		{ TEXT("id=%zz&day=%00"), "(id, day) [%zz], [%00]" },
	} },
	{ "a list: what is missing", "id, day", NULL, {
		{ TEXT(""), "data: the event lacks column id, which fields names" },
		{ TEXT("&&"), "data: the event lacks column id, which fields names" },
		{ TEXT("id=1"), "data: the event lacks column day, which fields names" },
		{ TEXT("day=1"), "data: the event lacks column id, which fields names" },
		{ TEXT("id=1&day=2"), "(id, day) [1], [2]" },
		{ TEXT("id=1&days=2"), "data: the event lacks column day, which fields names" },
		{ TEXT("id=1&da=2"), "data: the event lacks column day, which fields names" },
		{ TEXT("id=1&=day"), "data: the event lacks column day, which fields names" },
		{ TEXT("id=1&Day=2"), "data: the event lacks column day, which fields names" },
		{ TEXT("id=1&day+=2"), "data: the event lacks column day, which fields names" },
		{ TEXT("id=3&day=4"), "(id, day) [3], [4]" },
	} },
	{ "a list: JSON and urlencoded names that look alike", "id, day", NULL, {
		{ TEXT("{\"id\": 1, \"day\": 2}"), "(id, day) [1], [2]" },
		{ TEXT("\"id\"=3&day=4&id=5"), "(id, day) [5], [4]" },
		{ TEXT("{\"id\": 1, \"day\": 2}"), "(id, day) [1], [2]" },
	} },
	{ "a list: names as in the event before, or nearly", "id, day", NULL, {
		{ TEXT("id=1&day=2"), "(id, day) [1], [2]" },
		{ TEXT("id=3&day"), "(id, day) [3], NULL" },
		{ TEXT("id=3&day="), "(id, day) [3], []" },
		{ TEXT("id=&day=4"), "(id, day) [], [4]" },
		{ TEXT("id&day=4"), "(id, day) NULL, [4]" },
		{ TEXT("id==&day=="), "(id, day) [=], [=]" },
		{ TEXT("id=5&days=6&day=7"), "(id, day) [5], [7]" },
		{ TEXT("id=5&days=6&day"), "(id, day) [5], NULL" },
		{ TEXT("id=5&=6&day=7"), "(id, day) [5], [7]" },
		{ TEXT("id=5&=6&day=8&id"), "data: the event has column id twice" },
		{ TEXT("id=5&=6&id=7&day=8"), "data: the event has column id twice" },
		{ TEXT("id=5&&day=7"), "(id, day) [5], [7]" },
	} },
	{ "a list: JSON names that are not wanted come once", "id, day", NULL, {
		{ TEXT("{\"id\":1,\"x\":2,\"day\":3,\"y\":4}"), "(id, day) [1], [3]" },
		{ TEXT("{\"id\":1,\"x\":2,\"day\":3,\"x\":4}"),
			"data: the event has column x twice" },
		{ TEXT("{\"id\":1,\"x\":2,\"day\":3,\"x\":4}"),
			"data: the event has column x twice" },
		{ TEXT("{\"id\":1,\"x\":2,\"day\":3,\"\\u0078\":4}"), "data: the event has column x"
			" twice" },
		{ TEXT("{\"x\":1,\"id\":2,\"day\":3,\"y\":4}"), "(id, day) [2], [3]" },
		{ TEXT("{\"y\":1,\"id\":2,\"day\":3}"), "(id, day) [2], [3]" },
		{ TEXT("{\"y\":1,\"id\":2,\"day\":3,\"y\":4}"),
			"data: the event has column y twice" },
		{ TEXT("y=1&id=2&day=3&y=4"), "(id, day) [2], [3]" },
	} },
	{ "a list: what comes after the last column wanted", "id, day", NULL, {
		{ TEXT("id=5&day=8&x=1&d%61y=9"), "data: the event has column day twice" },
		{ TEXT("id=5&day=8&x=1&x=2"), "(id, day) [5], [8]" },
		{ TEXT("id=5&day=8&x=%zz"), "(id, day) [5], [8]" },
		{ TEXT("id=5&day=8&x=1&%zz=9"), "data: bad escape at byte 15 of ev_data" },
		{ TEXT("id=5&day=8&x=1&day"), "data: the event has column day twice" },
		{ TEXT("id=5&day=8&x=1&y=1&id=5"), "data: the event has column id twice" },
	} },
	{ "a list: bad escapes in names", "id, day", NULL, {
		{ TEXT("%4z=1&id=1&day=2"), "data: bad escape at byte 0 of ev_data" },
		{ TEXT("id=1&d%4=2"), "data: bad escape at byte 6 of ev_data" },
		{ TEXT("id=1&da%00y=2"), "data: bad escape at byte 7 of ev_data" },
		{ TEXT("id=1&%"), "data: bad escape at byte 5 of ev_data" },
		{ TEXT("&&id=%&d\0=2"), "data: bad escape at byte 8 of ev_data" },
		{ TEXT("id=1&%4z=1&day=2"), "data: bad escape at byte 5 of ev_data" },
		{ TEXT("id=1&day=2"), "(id, day) [1], [2]" },
	} },
	{ "renaming", "id:order_id, day, name:Customer Name, user:user", NULL, {
		{ TEXT("id=1&day=2&name=3&user=4"), "(order_id, day, \"Customer Name\", \"user\")"
			" [1], [2], [3], [4]" },
		{ TEXT("user=4&order_id=9&name&id=1&day=2"), "(order_id, day, \"Customer Name\","
			" \"user\") [1], [2], NULL, [4]" },
		{ TEXT("order_id=1&day=2&name=3&user=4"), "data: the event lacks column id, which"
			" fields names" },
	} },
	{ "renaming crosswise", "a:b, b:a", NULL, {
		{ TEXT("a=1&b=2"), "(b, a) [1], [2]" },
		{ TEXT("b=2&a=1"), "(b, a) [1], [2]" },
	} },
	{ "one source twice", "day, id, day:copy, day:third", NULL, {
		{ TEXT("id=1&day=2"), "(day, id, copy, third) [2], [1], [2], [2]" },
		{ TEXT("day=3&id=4"), "(day, id, copy, third) [3], [4], [3], [3]" },
		{ TEXT("day&id=4"), "(day, id, copy, third) NULL, [4], NULL, NULL" },
		{ TEXT("id=4"), "data: the event lacks column day, which fields names" },
		{ TEXT("day=5"), "data: the event lacks column id, which fields names" },
	} },
	{ "the partition's column in the list", "id, day, name", "day", {
		{ TEXT("id=1&day=2026-01-31&name=x"), "(id, day, name) [1], [2026-01-31], [x] |"
			" 2026-01-31" },
		{ TEXT("name=x&day=2026-02-01&id=1"), "(id, day, name) [1], [2026-02-01], [x] |"
			" 2026-02-01" },
		{ TEXT("id=1&day&name=x"), "(id, day, name) [1], NULL, [x]" },
		{ TEXT("id=1&day=&name=x"), "(id, day, name) [1], [], [x] | " },
		{ TEXT("id=1&name=x"), "data: the event lacks column day, which fields names" },
	} },
	{ "the partition's column renamed, twice", "id, day:a, day:b", "day", {
		{ TEXT("id=1&day=2026-01-31"), "(id, a, b) [1], [2026-01-31], [2026-01-31] |"
			" 2026-01-31" },
		{ TEXT("id=1&a=2026-01-31"), "data: the event lacks column day, which fields"
			" names" },
	} },
	{ "the partition's column not in the list", "id, name:day", "day", {
		{ TEXT("id=1&day=2026-01-31&name=x"), "(id, day) [1], [x] | 2026-01-31" },
		{ TEXT("day=2026-02-01&name=x&id=1"), "(id, day) [1], [x] | 2026-02-01" },
		{ TEXT("id=1&name=x&d%61y=2026-02-02"), "(id, day) [1], [x] | 2026-02-02" },
		{ TEXT("id=1&name=x&day"), "(id, day) [1], [x]" },
		{ TEXT("id=1&name=x"), "data: the event lacks column day, which part_field names" },
		{ TEXT("day=2026-01-31&name=x"), "data: the event lacks column id, which fields"
			" names" },
	} },
	{ "the partition's column not in the list, a source twice", "id, id:id2", "day", {
		{ TEXT("id=1&day=2026-01-31"), "(id, id2) [1], [1] | 2026-01-31" },
		{ TEXT("day=2026-02-01&id=2"), "(id, id2) [2], [2] | 2026-02-01" },
	} },
	{ "a list of encoded names", "\xc3\x96" "dd col, a=b, a&c:d", NULL, {
		{ TEXT("%c3%96dd+col=1&a%3db=2&a%26c=3"), "(\"\xc3\x96" "dd col\", \"a=b\", d) [1],"
			" [2], [3]" },
		{ TEXT("%C3%96dd%20col=4&%61%3Db=5&a%26c"), "(\"\xc3\x96" "dd col\", \"a=b\", d)"
			" [4], [5], NULL" },
		{ TEXT("\xc3\x96" "dd+col=1&a=b=2&a%26c=3"), "data: the event lacks column a=b,"
			" which fields names" },
	} },
	{ "all columns", "*", NULL, {
		{ TEXT("id=1&day=2&name"), "(id, day, name) [1], [2], NULL" },
		{ TEXT("id=3&day=4&name="), "(id, day, name) [3], [4], []" },
		{ TEXT("name=1&id=2&day=3"), "(id, day, name) [2], [3], [1]" },
		{ TEXT("id=1&day=2"), "(id, day) [1], [2]" },
		{ TEXT("id=1&day=2&name&user=4"), "(id, day, name, \"user\") [1], [2], NULL, [4]" },
		{ TEXT("id=5&day=6&name=7"), "(id, day, name) [5], [6], [7]" },
		{ TEXT("id"), "(id) NULL" },
		{ TEXT("&id=1&&day=2&name=3&"), "(id, day, name) [1], [2], [3]" },
		{ TEXT("%c3%96dd+col=a%3db&A\"b=1"), "(\"\xc3\x96" "dd col\", \"A\"\"b\") [a%3db],"
			" [1]" },
		{ TEXT("%69d=1"), "(id) [1]" },
		{ TEXT("id=%zz&day=%00&name=%"), "(id, day, name) [%zz], [%00], [%]" },
		{ TEXT("a=b=c&x%3d=="), "(a, \"x=\") [b=c], [=]" },
	} },
	{ "all columns: refused", "*", NULL, {
		{ TEXT(""), "data: ev_data holds no column" },
		{ TEXT("&"), "data: ev_data holds no column" },
		{ TEXT("id=1&id=2"), "data: the event has column id twice" },
		{ TEXT("id=1"), "(id) [1]" },
		{ TEXT("id=1&day=2&%69d"), "data: the event has column id twice" },
		{ TEXT("id=1&%4z=2"), "data: bad escape at byte 5 of ev_data" },
		{ TEXT("id=%zz&d%00"), "data: bad escape at byte 8 of ev_data" },
		{ TEXT("&&d\0=1"), "data: bad escape at byte 3 of ev_data" },
		{ TEXT("id=1&=2"), "data: a column name of 0 bytes at byte 5 of ev_data: the server"
			" takes 1 to 63" },
		{ TEXT("id=1"), "(id) [1]" },
	} },
	{ "all columns and a partition's", "*", "day", {
		{ TEXT("id=1&day=2026-01-31"), "(id, day) [1], [2026-01-31] | 2026-01-31" },
		{ TEXT("d%61y=2026-02-01&id=1"), "(id, day) [1], [2026-02-01] | 2026-02-01" },
		{ TEXT("id=1&x=2&day=2026-02-02"), "(id, x, day) [1], [2], [2026-02-02] |"
			" 2026-02-02" },
		{ TEXT("id=1&day"), "(id, day) [1], NULL" },
		{ TEXT("id=1"), "data: the event lacks column day, which part_field names" },
		{ TEXT("id=1&Day=2"), "data: the event lacks column day, which part_field names" },
		{ TEXT("day=2026-01-31"), "(day) [2026-01-31] | 2026-01-31" },
		{ TEXT("id=1"), "data: the event lacks column day, which part_field names" },
		{ TEXT("id=2&day=2026-03-01"), "(id, day) [2], [2026-03-01] | 2026-03-01" },
	} },
};

#define FIELDS_OF_TEST 8

/* "a, b:c" into fields, which borrow from it; NULL for "*". */
static struct field *split_fields(const char *text, struct field *field, size_t *n)
{
	*n = 0;
	if (strcmp(text, "*") == 0)
		return NULL;
	while (*text) {
		size_t len = strcspn(text, ","), source = strcspn(text, ":,");
		struct field *f = &field[(*n)++];
		f->source = (struct span){ text, source };
		f->target = source < len ? (struct span){ text + source + 1, len - source - 1 } :
			f->source;
		text += len;
		text += strspn(text, ", ");
	}
	return field;
}

static void test_sequences(void)
{
	struct field field[FIELDS_OF_TEST];
	struct buf got = { 0 };
	size_t n;

	for (size_t i = 0; i < COUNT(sequences); i++) {
		const struct sequence *s = &sequences[i];
		struct field *fields = split_fields(s->fields, field, &n);
		struct route *r = new_route(fields, n, s->part_field);
		for (size_t k = 0; k < COUNT(s->row) && s->row[k].wanted; k++) {
			put_row(&got, r, s->row[k].data);
			check_buf(s->name, s->row[k].data, &got, s->row[k].wanted);
		}
		route_free(r);
	}
	route_free(NULL);
	buf_free(&got);
}

/* A column that is there twice does not stand for one that is not. */
static void test_twice_in_list(void)
{
	struct field field[] = { { TEXT("id"), TEXT("id"), 0 },
		{ TEXT("day"), TEXT("day"), 0 } };
	struct route *r = new_route(field, 2, NULL);
	struct buf got = { 0 };

	put_row(&got, r, span_of("id=1&day=2"));
	got.len = 0;
	put_row(&got, r, span_of("id=1&id=2"));
	check_int("a list: one column twice, the other missing",
		strncmp(buf_cstr(&got), "data: ", 6), 0);
	route_free(r);
	buf_free(&got);
}

/* Each row alone, through a route of its own, gives what it gave among the others. */
static void test_alone(void)
{
	struct field field[FIELDS_OF_TEST];
	struct buf got = { 0 };
	size_t n, wrong = 0;

	for (size_t i = 0; i < COUNT(sequences); i++)
		for (size_t k = 0; k < COUNT(sequences[i].row) && sequences[i].row[k].wanted; k++) {
			struct field *fields = split_fields(sequences[i].fields, field, &n);
			struct route *r = new_route(fields, n, sequences[i].part_field);
			put_row(&got, r, sequences[i].row[k].data);
			wrong += strcmp(buf_cstr(&got), sequences[i].row[k].wanted) != 0;
			got.len = 0;
			route_free(r);
		}
	/* two of them take the order of columns that came before in another one */
	check_int("the same rows, each alone: how many are wrong", (int64_t)wrong, 2);
	buf_free(&got);
}

/* ---- one column of a name: its length, and what a message shows of it */

static void check_name_length(struct route *r, size_t bytes, const char *how, bool taken)
{
	struct buf data = { 0 }, got = { 0 };
	char name[60];

	for (size_t i = 0; i < bytes; i++)
		buf_str(&data, how);
	buf_str(&data, "=1");
	put_row(&got, r, (struct span){ data.p, data.len });
	snprintf(name, sizeof name, "a column name of %zu times %s is taken", bytes, how);
	check_int(name, strncmp(buf_cstr(&got), "data: ", 6) != 0, taken);
	buf_free(&data);
	buf_free(&got);
}

static void test_names(void)
{
	struct route *r = new_route(NULL, 0, NULL);
	struct buf got = { 0 };
	size_t unprintable = 0;

	check_name_length(r, 63, "a", true);
	check_name_length(r, 64, "a", false);
	check_name_length(r, 63, "%61", true);
	check_name_length(r, 64, "%61", false);
	check_name_length(r, 100000, "%61", false);

	put_row(&got, r, span_of("a%0a%1b[31m=1&a%0a%1b[31m=2"));
	for (size_t i = 0; i < got.len; i++)
		unprintable += (unsigned char)got.p[i] < 0x20;
	check_int("a hostile column name: control bytes in the message", (int64_t)unprintable, 0);
	route_free(r);
	buf_free(&got);
}

/* Two names of one length that differ in one byte are two columns, wherever that byte is. */
static void test_alike_names(void)
{
	enum { LONGEST = 20 };
	char name[] = "abcdefghijklmnopqrst", other[LONGEST + 1];
	struct buf got = { 0 }, wanted = { 0 };
	int wrong = 0;

	for (size_t n = 1; n <= LONGEST; n++)
		for (size_t at = 0; at < n; at++) {
			struct field field = { { name, n }, { name, n }, 0 };
			struct route *list = new_route(&field, 1, NULL),
				*all = new_route(NULL, 0, NULL);
			memcpy(other, name, sizeof other);
			other[at] = 'z';
			for (int round = 0; round < 4; round++) {
				const char *now = round % 2 ? other : name;
				wanted.len = got.len = 0;
				buf_fmt(&wanted, "(%.*s) NULL", (int)n, now);
				put_row(&got, all, (struct span){ now, n });
				wrong += strcmp(buf_cstr(&got), buf_cstr(&wanted)) != 0;
				got.len = 0;
				put_row(&got, list, (struct span){ now, n });
				wrong += (strcmp(buf_cstr(&got), wanted.p) == 0) != (now == name);
			}
			route_free(list);
			route_free(all);
		}
	check_int("names that differ in one byte: how many are wrong", wrong, 0);
	buf_free(&got);
	buf_free(&wanted);
}

/* ---- many columns */

static void put_columns(struct buf *data, size_t n, const char *after)
{
	data->len = 0;
	for (size_t i = 0; i < n; i++)
		buf_fmt(data, "%sc%zu=%zu", i ? "&" : "", i, i);
	buf_str(data, after);
}

static void test_many_columns(void)
{
	static const struct { size_t n; const char *after; const char *wanted; } table[] = {
		{ COLUMNS_MAX, "", "" },
		{ COLUMNS_MAX, "&", "" },
		{ COLUMNS_MAX + 1, "", "data: the event has more than 1600 columns" },
		{ COLUMNS_MAX, "&&x", "data: the event has more than 1600 columns" },
	};
	struct field last = { TEXT("c1999"), TEXT("last"), 0 };
	struct route *all = new_route(NULL, 0, NULL), *one = new_route(&last, 1, NULL);
	struct buf data = { 0 }, got = { 0 };
	char about[40];

	for (size_t i = 0; i < COUNT(table); i++) {
		put_columns(&data, table[i].n, table[i].after);
		put_row(&got, all, (struct span){ data.p, data.len });
		if (strncmp(buf_cstr(&got), "(c0, c1, ", 9) == 0)
			got.len = 0;
		snprintf(about, sizeof about, "all of %zu columns and", table[i].n);
		check_buf(about, span_of(table[i].after), &got, table[i].wanted);
	}
	put_columns(&data, 2000, "");
	for (int round = 1; round <= 2; round++) {
		put_row(&got, one, (struct span){ data.p, data.len });
		check_buf("one column of 2000, time", span_of(round == 1 ? "1" : "2"), &got,
			"(last) [1999]");
	}
	route_free(all);
	route_free(one);
	buf_free(&data);
	buf_free(&got);
}

/* ---- shapes and their numbers */

static uint32_t id_of(struct route *r, const char *data, struct buf *columns)
{
	struct err e = { 0 };
	const struct shape *shape = NULL;
	const struct span *values;
	struct span part;

	columns->len = 0;
	if (route_row(r, FORMAT_URLENC, span_of(data), &shape, &values, &part, &e) < 0)
		return UINT32_MAX;
	buf_str(columns, shape->columns);
	buf_cstr(columns);
	return route_shape_id(r, shape);
}

static void test_shape_ids(void)
{
	struct route *r = new_route(NULL, 0, NULL);
	struct buf columns = { 0 };
	uint32_t ab = id_of(r, "a=1&b=2", &columns), a = id_of(r, "a=1", &columns),
		ba = id_of(r, "b=1&a=2", &columns);

	check_int("other columns, another number", ab != a, 1);
	check_int("the same columns in another order, the same number", ba, ab);
	check_span("... and one order of them", span_of("b=1&a=2"), span_of(columns.p),
		span_of("a, b"));
	check_int("the same columns, the same number", id_of(r, "a=5&b", &columns), ab);
	check_int("... and again", id_of(r, "a=6&b=7", &columns), ab);
	check_int("... after others", id_of(r, "b&a", &columns), ba);
	check_int("a refused row has none", id_of(r, "a=1&a=2", &columns), UINT32_MAX);
	check_int("after a refused row", id_of(r, "a=9", &columns), a);
	route_free(r);

	struct field field = { TEXT("a"), TEXT("a"), 0 };
	r = new_route(&field, 1, NULL);
	a = id_of(r, "a=1&b=2", &columns);
	check_int("a list has one shape", id_of(r, "c=1&a=2", &columns), a);
	route_free(r);
	buf_free(&columns);
}

/* More shapes than are remembered, over and over: columns are right and no number comes to mean
 * another shape. */
static void test_many_shapes(void)
{
	enum { SHAPES = 3 * SHAPES_MAX, ROWS = 10 * SHAPES_MAX };
	struct route *r = new_route(NULL, 0, NULL);
	struct buf columns = { 0 };
	static int shape_of_id[2 * ROWS];
	char data[40], wanted[20];
	uint32_t seed = 7;
	int wrong = 0;

	memset(shape_of_id, -1, sizeof shape_of_id);
	for (int i = 0; i < ROWS; i++) {
		int shape = i < SHAPES ? i : (int)(unit_random(&seed) % SHAPES);
		snprintf(data, sizeof data, "x=%d&c%d=1", i, shape);
		snprintf(wanted, sizeof wanted, "x, c%d", shape);
		uint32_t id = id_of(r, data, &columns);
		if (id >= 2 * ROWS || (shape_of_id[id] != -1 && shape_of_id[id] != shape) ||
		    strcmp(columns.p, wanted) != 0) {
			wrong++;
			continue;
		}
		shape_of_id[id] = shape;
	}
	check_int("more shapes than are remembered: how many rows are wrong", wrong, 0);
	route_free(r);
	buf_free(&columns);
}

/* Up to that number nothing is forgotten. */
static void test_remembered_shapes(void)
{
	struct route *r = new_route(NULL, 0, NULL);
	struct buf columns = { 0 };
	char data[20];
	int other = 0;

	for (int round = 0; round < 3; round++)
		for (uint32_t i = 0; i < SHAPES_MAX; i++) {
			snprintf(data, sizeof data, "c%u=1", (unsigned)i);
			other += id_of(r, data, &columns) != i;
		}
	check_int("as many shapes in turn: how many rows got a new number", other, 0);
	route_free(r);
	buf_free(&columns);
}

/* What no row has had for a while is forgotten first. */
static void test_least_harm(void)
{
	struct route *r = new_route(NULL, 0, NULL);
	struct buf columns = { 0 };
	char data[20];
	int other = 0;

	for (uint32_t i = 0; i < 5 * SHAPES_MAX; i++) {
		snprintf(data, sizeof data, "often%u=1", (unsigned)i % 10);
		other += id_of(r, data, &columns) >= (i < 10 ? i + 20 : 20);
		snprintf(data, sizeof data, "c%u=1", (unsigned)i);
		id_of(r, data, &columns);
	}
	check_int("shapes that recur among others: how many rows got a new number", other, 0);
	check_int("all shapes take no more than", r->shapes.shapes.n <= SHAPES_MAX, true);
	route_free(r);
	buf_free(&columns);
}

static void test_target(void)
{
	static const struct { const char *fields, *source, *wanted; } table[] = {
		{ "id:order_id, day", "id", "order_id" },
		{ "id:order_id, day", "day", "day" },
		{ "id:order_id, day", "order_id", "order_id" },
		{ "id:order_id, day", "other", "other" },
		{ "a:b, b:a", "a", "b" },
		{ "a:b, b:a", "b", "a" },
		{ "day:first, day:second", "day", "first" },
		{ "*", "id", "id" },
	};
	struct field field[FIELDS_OF_TEST];
	size_t n;

	for (size_t i = 0; i < COUNT(table); i++) {
		struct field *fields = split_fields(table[i].fields, field, &n);
		struct route *r = new_route(fields, n, NULL);
		check_span(table[i].fields, span_of(table[i].source),
			route_target(r, span_of(table[i].source)), span_of(table[i].wanted));
		route_free(r);
	}
}

/* With `*`: columns that the table makes itself. */
static void test_left_out(void)
{
	static const struct { struct span data; const char *wanted; } table[] = {
		{ TEXT("id=1&twice=2&day=3"), "(id, day) [1], [3] | 3" },
		{ TEXT("id=4&twice=5&day=6"), "(id, day) [4], [6] | 6" },
		{ TEXT("day=3&id=1"), "(id, day) [1], [3] | 3" },
		{ TEXT("tw%69ce&d%61y=3&id=1&half"), "(id, day) [1], [3] | 3" },
		{ TEXT("id=1&half=2"), "data: the event lacks column day, which part_field names" },
		{ TEXT("id=1&day=2&twice=3&twice=4"), "data: the event has column twice twice" },
		{ TEXT("id=4&twice=5&day=6&x"), "(id, day, x) [4], [6], NULL | 6" },
	};
	struct route *r = new_route(NULL, 0, "day");
	struct tally names = { 0 };
	struct buf got = { 0 };

	put_row(&got, r, span_of("id=1&twice=2&day=3"));
	check_buf("left out: nothing yet", span_of(""), &got, "(id, twice, day) [1], [2], [3] | 3");
	tally_add(&names, "twice", 0);
	tally_add(&names, "half", 0);
	route_leave_out(r, &names);
	for (size_t i = 0; i < COUNT(table); i++) {
		put_row(&got, r, table[i].data);
		check_buf("left out", table[i].data, &got, table[i].wanted);
	}
	uint32_t id = id_of(r, "id=1&day=2", &got), same;
	route_leave_out(r, &names);
	same = id_of(r, "id=1&day=2", &got);
	check_int("left out: the same names change nothing", same, id);
	tally_clear(&names);
	route_leave_out(r, &names);
	got.len = 0;
	put_row(&got, r, span_of("id=1&twice=2&day=3"));
	check_buf("left out: nothing any more", span_of(""), &got, "(id, twice, day) [1], [2], [3]"
		" | 3");
	check_int("left out: a new number", id_of(r, "id=1&day=2", &got) > id, 1);
	route_free(r);
	buf_free(&got);
}

static void check_filled(const char *what, const struct route *r, const char *wanted)
{
	struct tally columns = { 0 };
	struct buf got = { 0 };

	route_filled(r, &columns);
	for (size_t i = 0; i < columns.n; i++)
		buf_fmt(&got, "%s ", columns.at[i].name);
	check_buf("filled", span_of(what), &got, wanted);
	tally_clear(&columns);
	buf_free(&got);
}

/* With `*`: columns that other rows had. */
static void test_filled(void)
{
	static const struct { const char *call; struct span data; const char *wanted; } table[] = {
		{ "fill: 1", TEXT("id=1&a=2&x=3"), "(id, a, x) [1], [2], [3]" },
		{ "", TEXT("id=1&a=2&x=3&b"), "(id, a, x, b) [1], [2], [3], NULL" },
		{ "", TEXT("b=5&id=1"), "(b, id, a) [5], [1], NULL" },
		{ "", TEXT("id=1&a=2"), "(b, id, a) NULL, [1], [2]" },
		{ "", TEXT("id=1"), "(b, id, a) NULL, [1], NULL" },
		{ "", TEXT("{\"a\": 7}"), "(a, b) [7], NULL" },
		{ "the first shape is what it was", TEXT("id=1&a=2&x=3"),
			"(id, a, x) [1], [2], [3]" },
		{ "fill: 1", TEXT("id=1&a=2&x=3"), "(id, a, x, b) [1], [2], [3], NULL" },
		{ "fill: 0", TEXT("id=1&x=3"), "(id, a, x, b) [1], NULL, [3], NULL" },
		{ "stop: 1", TEXT("id=1&x=3"), "(id, x) [1], [3]" },
		{ "stop: 0", TEXT("id=1&b=3"), "(id, b) [1], [3]" },
		{ "fill: 1", TEXT("id=1&x=3"), "(id, x, a, b) [1], [3], NULL, NULL" },
		{ "fewer: 1", TEXT("id=1&x=3"), "(id, x) [1], [3]" },
		{ "", TEXT("id=1&b=3"), "(id, b) [1], [3]" },
		{ "", TEXT("id=1&x=4"), "(id, x) [1], [4]" },
		{ "", TEXT("id=1&y=4"), "(id, y, b) [1], [4], NULL" },
	};
	struct route *r = new_route(NULL, 0, NULL);
	struct tally names = { 0 };
	struct buf got = { 0 };

	tally_add(&names, "c", 0);
	tally_add(&names, "b", 0);
	tally_add(&names, "a", 0);
	for (size_t i = 0; i < COUNT(table); i++) {
		const char *colon = strchr(table[i].call, ':');
		if (*table[i].call == 'f' && table[i].call[1] == 'e') {
			tally_clear(&names);
			tally_add(&names, "b", 0);
		}
		if (colon)
			check_int(table[i].call, route_fill(r, *table[i].call == 's' ? NULL :
				&names), colon[2] - '0');
		put_row(&got, r, table[i].data);
		check_buf(table[i].call, table[i].data, &got, table[i].wanted);
	}
	tally_clear(&names);
	route_free(r);
	buf_free(&got);
}

/* Which columns rows got, and not where they would be too many. */
static void test_filled_columns(void)
{
	struct route *r = new_route(NULL, 0, NULL);
	struct tally names = { 0 };
	struct buf got = { 0 }, row = { 0 };
	char name[8];

	for (size_t i = 0; i <= FILLING_MAX; i++) {
		snprintf(name, sizeof name, "c%zu", i);
		tally_add(&names, name, 0);
		buf_fmt(&row, "%s=&", name);
	}
	route_fill(r, &names);
	put_row(&got, r, (struct span){ row.p, row.len });
	check_filled("none yet", r, "");
	got.len = 0;
	put_row(&got, r, span_of("id=1"));
	check_buf("filled", span_of("too many"), &got, "(id) [1]");
	put_row(&got, r, span_of("c0=1"));
	check_int("filled: not too many", route_shapes(r), 3);
	tally_clear(&names);
	route_filled(r, &names);
	check_int("filled: all but one", (int64_t)names.n, FILLING_MAX);
	tally_clear(&names);
	tally_add(&names, "b", 0);
	route_fill(r, &names);
	put_row(&got, r, span_of("b=1"));
	put_row(&got, r, span_of("id=1"));
	check_filled("others", r, "b ");
	route_fill(r, &names);
	check_filled("in another pass", r, "");
	tally_clear(&names);
	route_free(r);
	buf_free(&got);
	buf_free(&row);
}

/* ---- words, other columns beside a list, what events lack, JSON */

static const struct field items[] = {
	{ TEXT("id"), TEXT("order_id"), 0 }, { TEXT("note"), TEXT("note"), 0 },
	{ TEXT("_OP"), TEXT("op"), TOLD_OP },
};

static const struct {
	const char *name;
	struct columns columns;
	struct { struct span data; const char *wanted; } row[8];
} told[] = {
	{ "items and others", { items, 3, 1, true, ON_MISSING_ERROR, NULL, NULL }, {
		{ TEXT("x=1&id=2&note=3"), "(x, order_id, note, op) [1], [2], [3]" },
		{ TEXT("x=1&id=2"), "data: the event lacks column note, which fields names" },
		{ TEXT("note=1&op=4&id=2"), "data: the event has a column op, and fields gives that"
			" name to another" },
		{ TEXT("note=1&id=2&order_id=2"), "data: the event has a column order_id, and"
			" fields gives that name to another" },
		{ TEXT("{\"x\": 1, \"note\": null, \"id\": 2}"),
			"(x, order_id, note, op) [1], [2], NULL" },
	} },
	{ "... NULL for what lacks", { items, 3, 1, true, ON_MISSING_NULL, NULL, NULL }, {
		{ TEXT("x=1"), "(x, order_id, note, op) [1], NULL, NULL" },
		{ TEXT("x=1&note=2&id=3"), "(x, order_id, note, op) [1], [3], [2]" },
		{ TEXT("{}"), "(order_id, note, op) NULL, NULL" },
	} },
	{ "... the default", { items, 3, 1, true, ON_MISSING_DEFAULT, NULL, NULL }, {
		{ TEXT("x=1"), "(x, op) [1]" },
		{ TEXT("note=2"), "(note, op) [2]" },
		{ TEXT("id=3&note=2"), "(order_id, note, op) [3], [2]" },
	} },
	{ "... without some", { items, 3, 1, true, ON_MISSING_NULL, "x, id", "x" }, {
		{ TEXT("x=1&id=2&note=3&y=4"), "(note, y, op) [3], [4] | 1" },
	} },
	{ "a list and a word", { items, 3, 1, false, ON_MISSING_ERROR, NULL, "day" }, {
		{ TEXT("x=1&id=2&note=3&day=4"), "(order_id, note, op) [2], [3] | 4" },
		{ TEXT("{\"day\": \"5\", \"x\": [1], \"note\": \"a\", \"id\": 6}"),
			"(order_id, note, op) [6], [\"a\"] | \"5\"" },
		{ TEXT("{\"day\":\"5\",\"x\":{},\"note\":null,\"id\":6.5}"),
			"(order_id, note, op) [6.5], NULL | \"5\"" },
		{ TEXT("{\"day\": \"5\", \"x\": , \"note\": 1}"), "data: ev_data is no JSON object:"
			" a value or a digit is expected, at byte 18" },
		{ TEXT("{\"dax\": \"5\", \"x\": 1, \"note\": \"a\", \"id\": 6}"),
			"data: the event lacks column day, which part_field names" },
		{ TEXT("{\"day\": \"5\", \"x\": [1], \"note\": \"a\", \"id\": 6, \"\\u0069d\": 7}"),
			"data: the event has column id twice" },
		{ TEXT("{\"day\": \"5\", \"note\": \"a\", \"id\": 6"), "data: ev_data is no JSON"
			" object: a"
			" comma or the closing bracket is expected, at byte 33" },
		{ TEXT("{\"a\\ud800\": 1}"), "data: \\u0000 or half a surrogate pair at byte 3 of"
			" ev_data" },
	} },
	{ "... NULL for what lacks", { items, 3, 1, false, ON_MISSING_NULL, NULL, "day" }, {
		{ TEXT("id=2&day=4"), "(order_id, note, op) [2], NULL | 4" },
		{ TEXT("day=4&note=3"), "(order_id, note, op) NULL, [3] | 4" },
		{ TEXT("id=2&note=4"), "data: the event lacks column day, which part_field names" },
		{ TEXT("day=4&note=3&id=1"), "(order_id, note, op) [1], [3] | 4" },
	} },
	{ "... the default", { items, 3, 1, false, ON_MISSING_DEFAULT, NULL, "id" }, {
		{ TEXT("id=2&day=4"), "(order_id, op) [2] | 2" },
		{ TEXT("id=2&note=4"), "(order_id, note, op) [2], [4] | 2" },
		{ TEXT("note=4"), "data: the event lacks column id, which part_field names" },
	} },
	{ "all in JSON", { .all = true, .part_field = "day" }, {
		{ TEXT("id=1&day=2"), "(id, day) [1], [2] | 2" },
		{ TEXT("{\"id\":1,\"day\":\"2\"}"), "(id, day) [1], [\"2\"] | \"2\"" },
		{ TEXT("{\"day\":\"2\",\"id\":null}"), "(id, day) NULL, [\"2\"] | \"2\"" },
		{ TEXT("{\"id\":1,\"day\":\"2\",\"\\u0069d\":3}"), "data: the event has column id"
			" twice" },
		{ TEXT("{}"), "data: the event lacks column day, which part_field names" },
		{ TEXT("{\"id\":1,\"day\":\"2\"},"), "data: ev_data is no JSON object: more text"
			" after"
			" the end, at byte 18" },
		{ TEXT("id=1&day=3"), "(id, day) [1], [3] | 3" },
	} },
};

static void test_told(void)
{
	struct buf got = { 0 };

	for (size_t i = 0; i < COUNT(told); i++) {
		struct route *r = route_new(&told[i].columns);
		for (size_t k = 0; k < COUNT(told[i].row) && told[i].row[k].wanted; k++) {
			put_row(&got, r, told[i].row[k].data);
			check_buf(told[i].name, told[i].row[k].data, &got, told[i].row[k].wanted);
		}
		route_free(r);
	}
	buf_free(&got);
}

int main(void)
{
	test_left_out();
	test_filled();
	test_filled_columns();
	test_sequences();
	test_twice_in_list();
	test_alone();
	test_names();
	test_alike_names();
	test_many_columns();
	test_shape_ids();
	test_many_shapes();
	test_remembered_shapes();
	test_least_harm();
	test_target();
	test_told();
	return unit_end();
}

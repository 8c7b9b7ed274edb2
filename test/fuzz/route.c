/*
 * Fuzzes the finding of columns against the slow way. The input is a byte that picks the fields
 * list, the partition's column and what becomes of columns that lack, and events divided by
 * newlines, which all go through one route: urlencoded rows, and JSON where they begin with `{`.
 */
#include "../../event/route.c"
#include "slowjson.h"

#define ITEM(from, to) { { from, sizeof (from) - 1 }, { to, sizeof (to) - 1 }, TOLD_NOTHING }
#define WORD(from, to, word) { { from, sizeof (from) - 1 }, { to, sizeof (to) - 1 }, word }

static const struct field plain[] = { ITEM("id", "id"), ITEM("day", "day"),
	WORD("_OP", "op", TOLD_OP), WORD("_EVID", "ev id", TOLD_EVID) },
	renamed[] = { ITEM("id", "a"), ITEM("day", "Day \"x\""), ITEM("id", "b"),
		WORD("_TABLE", "x", TOLD_TABLE) },
	odd[] = { ITEM("\xc3\x96" "dd col", "select"), WORD("_TICK", "y", TOLD_TICK) };

static const struct choice {
	const struct field *field;
	size_t n, nword;
	bool all;
	const char *part_field, *left_out, *skip;
} choices[] = {
	{ .all = true }, { .all = true, .part_field = "day" },
	{ .all = true, .left_out = "id" },
	{ .all = true, .part_field = "day", .left_out = "day" },
	{ plain, 2, 0, false, NULL, NULL, NULL }, { plain, 2, 0, false, "day", NULL, NULL },
	{ plain, 2, 0, false, "at", NULL, NULL },
	{ renamed, 3, 0, false, "id", NULL, NULL }, { renamed, 3, 0, false, "at", NULL, NULL },
	{ odd, 1, 0, false, "id", NULL, NULL },
	{ plain, 4, 2, false, "at", NULL, NULL }, { plain, 4, 2, true, "day", NULL, "at, b" },
	{ renamed, 4, 1, true, NULL, "b", NULL }, { renamed, 4, 1, false, "id", NULL, NULL },
	{ odd, 2, 1, true, NULL, NULL, "id" }, { plain + 2, 2, 2, true, NULL, "id", "day" },
};

#define CHOICES (sizeof choices / sizeof *choices)

struct slow_row {
	struct buf name[COLUMNS_MAX + 1];       /* decoded */
	struct span source[COLUMNS_MAX + 1], value[COLUMNS_MAX + 1];
	size_t n;
	/* what is to be written: */
	struct span target[2 * COLUMNS_MAX], written[2 * COLUMNS_MAX];
	size_t ntarget;
};

static struct slow_row row;

static struct span name_of(size_t i)
{
	return (struct span){ row.name[i].p, row.name[i].len };
}

static ssize_t find_name(struct span name)
{
	for (size_t i = 0; i < row.n; i++)
		if (span_eq(name_of(i), name))
			return (ssize_t)i;
	return -1;
}

static bool is_listed(const struct route *r, struct span name)
{
	for (size_t i = 0; i < r->nlist; i++)
		if (span_eq(r->c.field[i].source, name))
			return true;
	return r->c.part_field && span_is(name, r->c.part_field);
}

/* Takes a field into the row; false for what no table can hold. With a list, columns that it does
 * not name are nobody's business. */
static bool take_field(const struct route *r, bool json, struct span source, struct span value)
{
	struct buf *name = &row.name[row.n];
	size_t bad;

	name->len = 0;
	if (json ? !slow_json(name, source, &bad) : !slow_decode(name, source, &bad))
		return false;
	struct span decoded = { name->p, name->len };
	if (!r->c.all && !is_listed(r, decoded))
		return true;
	if ((r->c.all && (decoded.n == 0 || decoded.n > NAME_BYTES_MAX)) ||
	    find_name(decoded) >= 0)
		return false;
	row.source[row.n] = source;
	row.value[row.n++] = value;
	return true;
}

static bool take_fields(const struct route *r, bool json, struct span data)
{
	struct span name, value, rest = data;

	row.n = 0;
	if (json && !slow_is_object(data))
		return false;
	for (; json && *rest.p != '{'; rest.p++, rest.n--)
		;
	if (json)
		rest = (struct span){ rest.p + 1, rest.n - 1 };
	while (json ? slow_next_json(&rest, &name, &value) : slow_next(&rest, &name, &value))
		if (row.n == COLUMNS_MAX || !take_field(r, json, name, value))
			return false;
	return json || row.n || !r->c.all;
}

static void write_target(struct span target, struct span value)
{
	row.target[row.ntarget] = target;
	row.written[row.ntarget++] = value;
}

/* A column of the event that the list does not name, or else what the list makes of it. */
static void write_column(const struct route *r, size_t i)
{
	bool listed = false;

	if (filter_has(r->c.skip, name_of(i)))
		return;
	for (size_t k = 0; k < r->nlist; k++)
		if (span_eq(r->c.field[k].source, name_of(i))) {
			write_target(r->c.field[k].target, row.value[i]);
			listed = true;
		}
	if (!listed && r->c.all && !(r->left_out.n && span_is(name_of(i), r->left_out.at[0].name)))
		write_target(name_of(i), row.value[i]);
}

/* Columns of the list that the event lacks. */
static bool write_missing(const struct route *r)
{
	const struct span null = { NULL, 0 };

	for (size_t k = 0; k < r->nlist; k++) {
		if (find_name(r->c.field[k].source) >= 0)
			continue;
		if (r->c.on_missing == ON_MISSING_ERROR)
			return false;
		if (r->c.on_missing == ON_MISSING_NULL)
			write_target(r->c.field[k].target, null);
	}
	return true;
}

static ssize_t find_target(struct span target)
{
	for (size_t i = 0; i < row.ntarget; i++)
		if (span_eq(row.target[i], target))
			return (ssize_t)i;
	return -1;
}

static bool slow_read(const struct route *r, bool json, struct span data)
{
	row.ntarget = 0;
	if (!take_fields(r, json, data))
		return false;
	for (size_t i = 0; i < row.n; i++)
		write_column(r, i);
	if (!write_missing(r) || row.ntarget + r->c.nword == 0)
		return false;
	for (size_t i = 0; i < row.ntarget; i++)
		if (find_target(row.target[i]) != (ssize_t)i)
			return false;
	for (size_t k = r->nlist; k < r->c.n; k++)
		if (find_target(r->c.field[k].target) >= 0)
			return false;
	return !r->c.part_field || find_name(span_of(r->c.part_field)) >= 0;
}

static void check_value(struct span got, struct span want)
{
	CHECK(got.p == want.p && got.n == want.n);
}

/* The columns stand in any order, and the words behind them. */
static void check_columns_of(const struct route *r, const struct shape *shape,
	const struct span *values)
{
	struct buf columns = { 0 };

	CHECK(shape->n == row.ntarget + r->c.nword && shape->nword == r->c.nword);
	for (size_t i = 0; i < shape->n; i++) {
		ssize_t at = i < row.ntarget ? find_target(shape->target[i]) : 0;
		CHECK(at >= 0);
		if (i < row.ntarget)
			check_value(values[i], row.written[at]);
		else
			CHECK(span_eq(shape->target[i],
				r->c.field[r->nlist + i - row.ntarget].target));
		buf_str(&columns, i ? ", " : "");
		buf_ident(&columns, shape->target[i]);
		for (size_t k = 0; k < i; k++)
			CHECK(!span_eq(shape->target[i], shape->target[k]));
	}
	CHECK(strcmp(shape->columns, buf_cstr(&columns)) == 0);
	buf_free(&columns);
}

static void check_row(const struct route *r, const struct shape *shape, const struct span *values,
	struct span part)
{
	CHECK(shape->nsource == (r->c.all ? row.n : r->nlist));
	for (size_t i = 0; i < shape->nsource; i++)
		CHECK(span_eq(shape->source[i], r->c.all ? row.source[i] : r->c.field[i].source));
	check_columns_of(r, shape, values);
	if (r->c.part_field)
		check_value(part, row.value[find_name(span_of(r->c.part_field))]);
	else
		CHECK(!part.p && part.n == 0);
}

/* A number is that of one list of names, for the life of the route. */
static void check_shape_id(struct buf *lists, size_t *known, const struct route *r,
	const struct shape *shape)
{
	uint32_t id = route_shape_id(r, shape);

	CHECK(id <= *known);
	if (id == *known) {
		CHECK(id < 2 * SHAPES_MAX);
		buf_str(&lists[(*known)++], shape->columns);
	}
	CHECK(strcmp(buf_cstr(&lists[id]), shape->columns) == 0);
}

static void check_events(struct route *r, struct span rest)
{
	struct buf lists[2 * SHAPES_MAX] = { 0 };
	size_t known = 0;

	while (rest.n && known < 2 * SHAPES_MAX) {
		struct span line = fuzz_part(&rest, '\n'), data = fuzz_copy(line.p, line.n), part;
		const struct shape *shape;
		const struct span *values;
		struct err e = { 0 };
		if (data.n == 0) {
			fuzz_free(data);
			continue;
		}
		enum format format = *data.p == '{' ? FORMAT_JSON : FORMAT_URLENC;
		bool good = slow_read(r, format == FORMAT_JSON, data);
		CHECK((route_row(r, format, data, &shape, &values, &part, &e) == 0) == good);
		if (good) {
			check_row(r, shape, values, part);
			check_shape_id(lists, &known, r, shape);
		} else {
			fuzz_check_err(&e, ERR_DATA, ERR_DATA);
		}
		fuzz_free(data);
	}
	for (size_t i = 0; i < known; i++)
		buf_free(&lists[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span rest = { (const char *)data, size };
	unsigned byte = fuzz_byte(&rest);
	const struct choice *choice = &choices[byte % CHOICES];
	const struct columns columns = {
		.field = choice->field, .n = choice->n, .nword = choice->nword, .all = choice->all,
		.on_missing = byte / CHOICES % 3, .skip = choice->skip,
		.part_field = choice->part_field,
	};
	struct route *r = route_new(&columns);
	struct tally names = { 0 };

	if (choice->left_out)
		tally_add(&names, choice->left_out, 0);
	route_leave_out(r, &names);
	tally_clear(&names);
	check_events(r, rest);
	route_free(r);
	return 0;
}

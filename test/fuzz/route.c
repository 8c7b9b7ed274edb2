/*
 * Fuzzes the finding of columns against the slow way. The input is a byte that picks the fields
 * list and the partition's column, and events divided by newlines, which all go through one route.
 */
#include "../../event/route.c"
#include "slow.h"

#define NAME(constant) { constant, sizeof (constant) - 1 }

static const struct field plain[] = { { NAME("id"), NAME("id"), 0 }, { NAME("day"), NAME("day"),
	0 } },
	renamed[] = { { NAME("id"), NAME("a"), 0 }, { NAME("day"), NAME("Day \"x\""), 0 },
		{ NAME("id"), NAME("b"), 0 } },
	odd[] = { { NAME("\xc3\x96" "dd col"), NAME("select"), 0 } };

static const struct { const struct field *field; size_t n; const char *part_field, *left_out;
	} choices[] = {
	{ NULL, 0, NULL, NULL }, { NULL, 0, "day", NULL },
	{ NULL, 0, NULL, "id" }, { NULL, 0, "day", "day" },
	{ plain, 2, NULL, NULL }, { plain, 2, "day", NULL }, { plain, 2, "at", NULL },
	{ renamed, 3, "id", NULL }, { renamed, 3, "at", NULL }, { odd, 1, "id", NULL },
};

struct slow_row {
	struct buf name[COLUMNS_MAX];   /* decoded */
	struct span source[COLUMNS_MAX], value[COLUMNS_MAX];
	size_t n;
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

static bool has_all_listed(const struct route *r)
{
	for (size_t i = 0; i < r->nlist; i++)
		if (find_name(r->c.field[i].source) < 0)
			return false;
	return !r->c.part_field || find_name(span_of(r->c.part_field)) >= 0;
}

/* Takes a field into the row; false for what no table can hold. With a list, columns that it does
 * not name are nobody's business. */
static bool take_field(const struct route *r, struct span source, struct span value)
{
	struct buf *name = &row.name[row.n];
	size_t bad;

	name->len = 0;
	if (!slow_decode(name, source, &bad))
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

static bool slow_read(const struct route *r, struct span data)
{
	struct span name, value;

	row.n = 0;
	while (slow_next(&data, &name, &value))
		if (row.n == COLUMNS_MAX || !take_field(r, name, value))
			return false;
	if (!r->c.all)
		return has_all_listed(r);
	size_t left_out = r->left_out.n && find_name(span_of(r->left_out.at[0].name)) >= 0;
	return row.n > left_out && (!r->c.part_field || find_name(span_of(r->c.part_field)) >= 0);
}

static void check_value(struct span got, ssize_t at)
{
	CHECK(at >= 0 && got.p == row.value[at].p && got.n == row.value[at].n);
}

/* With `*` the columns may stand in another order than in the event. */
static void check_row(const struct route *r, const struct shape *shape, const struct span *values,
	struct span part)
{
	struct buf columns = { 0 };
	size_t all = !r->c.all ? r->nlist : row.n, n = 0;

	CHECK(shape->nsource == all);
	for (size_t i = 0; i < all; i++) {
		struct span name = !r->c.all ? r->c.field[i].source : name_of(i);
		CHECK(span_eq(shape->source[i], !r->c.all ? name : row.source[i]));
		n += !(r->c.all && r->left_out.n && span_is(name, r->left_out.at[0].name));
	}
	CHECK(shape->n == n);
	for (size_t i = 0; i < n; i++) {
		struct span source = !r->c.all ? r->c.field[i].source : shape->target[i];
		CHECK(r->c.all || span_eq(shape->target[i], r->c.field[i].target));
		CHECK(!r->c.all || !r->left_out.n || !span_is(source, r->left_out.at[0].name));
		check_value(values[i], find_name(source));
		buf_str(&columns, i ? ", " : "");
		buf_ident(&columns, shape->target[i]);
		for (size_t k = 0; k < i; k++)
			CHECK(!span_eq(shape->target[i], shape->target[k]));
	}
	CHECK(strcmp(shape->columns, buf_cstr(&columns)) == 0);
	if (r->c.part_field)
		check_value(part, find_name(span_of(r->c.part_field)));
	else
		CHECK(!part.p && part.n == 0);
	buf_free(&columns);
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
		bool good = slow_read(r, data);
		CHECK((route_row(r, FORMAT_URLENC, data, &shape, &values, &part, &e) == 0) == good);
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
	size_t choice = fuzz_byte(&rest) % (sizeof choices / sizeof *choices);
	const struct columns columns = {
		.field = choices[choice].field, .n = choices[choice].n,
		.all = !choices[choice].field, .part_field = choices[choice].part_field,
	};
	struct route *r = route_new(&columns);

	struct tally names = { 0 };

	if (choices[choice].left_out)
		tally_add(&names, choices[choice].left_out, 0);
	route_leave_out(r, &names);
	tally_clear(&names);
	check_events(r, rest);
	route_free(r);
	return 0;
}

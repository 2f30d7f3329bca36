/* SPDX-License-Identifier: Apache-2.0 */
/* image.c - the two sides of a simulated file. */
#include "sim/image.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/min.h"

#define MARK_BITS  64u
#define ROOM_MIN   8192u
#define IMAGE_PAGE 4096u

struct image *image_new(uint64_t *used)
{
    struct image *image = calloc(1, sizeof *image);
    if (image == NULL) return NULL;
    image->first_marked = UINT64_MAX;
    image->used = used;
    return image;
}

void image_free(struct image *image)
{
    if (image == NULL) return;
    *image->used -= image->seen.size;
    free(image->seen.data);
    free(image->durable.data);
    free(image->marks);
    free(image->loss.old);
    free(image);
}

static bool side_reserve(struct image_side *side, uint64_t size)
{
    if (size <= side->room) return true;
    uint64_t room = max_u64(ROOM_MIN, side->room);
    while (room < size)
        room *= 2;
    uint8_t *data = realloc(side->data, room);
    if (data == NULL) return false;
    side->data = data;
    side->room = room;
    return true;
}

/* The room is there: what a file grows by reads as zeros. */
static void side_resize(struct image_side *side, uint64_t size)
{
    ASSERT(size <= side->room || size == 0);
    if (size > side->size) memset(side->data + side->size, 0, size - side->size);
    side->size = size;
}

static void seen_resize(struct image *image, uint64_t size)
{
    *image->used += size - image->seen.size;
    side_resize(&image->seen, size);
}

/* Do both sides hold the same, but for what is marked? */
static bool sides_agree(const struct image *image)
{
    const struct image_side *a = &image->seen, *b = &image->durable;
    if (image->apart || image->end_marked > 0) return true;
    return a->size == b->size && (a->size == 0 || memcmp(a->data, b->data, a->size) == 0);
}

static bool marks_reserve(struct image *image, uint64_t size)
{
    size_t words = (size_t)(size / IMAGE_SECTOR / MARK_BITS + 1);
    if (words <= image->mark_words) return true;
    uint64_t *marks = realloc(image->marks, words * sizeof *marks);
    if (marks == NULL) return false;
    memset(marks + image->mark_words, 0, (words - image->mark_words) * sizeof *marks);
    image->marks = marks;
    image->mark_words = words;
    return true;
}

static void marks_set(struct image *image, uint64_t begin, uint64_t end)
{
    if (begin >= end) return;
    uint64_t first = begin / IMAGE_SECTOR, last = (end - 1) / IMAGE_SECTOR;
    for (uint64_t s = first; s <= last; s++)
        image->marks[s / MARK_BITS] |= (uint64_t)1 << (s % MARK_BITS);
    image->first_marked = min_u64(image->first_marked, first);
    image->end_marked = max_u64(image->end_marked, last + 1);
}

static bool mark_at(const struct image *image, uint64_t sector)
{
    return (image->marks[sector / MARK_BITS] >> (sector % MARK_BITS) & 1) != 0;
}

void image_forget_marks(struct image *image)
{
    if (image->end_marked > 0) {
        size_t first = (size_t)(image->first_marked / MARK_BITS);
        size_t end = (size_t)((image->end_marked - 1) / MARK_BITS + 1);
        memset(image->marks + first, 0, (end - first) * sizeof *image->marks);
    }
    image->first_marked = UINT64_MAX;
    image->end_marked = 0;
}

bool image_write(struct image *image, uint64_t offset, struct kelp_bytes bytes)
{
    uint64_t end = offset + bytes.len;
    if (bytes.len == 0) return true;
    if (!side_reserve(&image->seen, end) || !marks_reserve(image, end)) return false;
    if (offset > image->seen.size) { /* a hole, which no mark tells of */
        seen_resize(image, offset);
        image->apart = true;
    }
    *image->used += sub_sat(end, image->seen.size);
    image->seen.size = max_u64(image->seen.size, end);
    memcpy(image->seen.data + offset, bytes.data, bytes.len);
    marks_set(image, offset, end);
    return true;
}

bool image_resize(struct image *image, uint64_t size)
{
    uint64_t before = image->seen.size, most = max_u64(before, size);
    if (!side_reserve(&image->seen, size) || !marks_reserve(image, most)) return false;
    seen_resize(image, size);
    marks_set(image, min_u64(before, size), most);
    return true;
}

/* Copy begin..end of what the process sees over the durable side; both have the room. */
static void image_copy(struct image *image, uint64_t begin, uint64_t end)
{
    end = min_u64(end, image->durable.size);
    uint64_t data_end = min_u64(end, image->seen.size);
    if (begin < data_end)
        memcpy(image->durable.data + begin, image->seen.data + begin, data_end - begin);
    begin = max_u64(begin, data_end);
    if (begin < end) memset(image->durable.data + begin, 0, end - begin);
}

void image_lose(struct image *image, bool wanted)
{
    free(image->loss.old);
    image->loss = (struct image_loss){.wanted = wanted};
}

/* Before a sync: keep what the disk has where the sync will write. */
static bool loss_begin(struct image *image)
{
    uint64_t begin = image->first_marked * IMAGE_SECTOR;
    uint64_t end = min_u64(image->end_marked * IMAGE_SECTOR, image->seen.size);
    if (begin >= end) return true;
    uint8_t *old = calloc(1, end - begin);
    if (old == NULL) return false;
    uint64_t there = min_u64(end, image->durable.size);
    if (begin < there) memcpy(old, image->durable.data + begin, there - begin);
    image->loss = (struct image_loss){.begin = begin, .end = end, .old = old};
    return true;
}

/* After the sync of something else: what was written before is as if it had never been. */
static void loss_shows(struct image *image, uint64_t first, uint64_t end)
{
    struct image_loss *loss = &image->loss;
    for (uint64_t at = loss->begin; at < loss->end; at += IMAGE_SECTOR) {
        uint64_t sector = at / IMAGE_SECTOR;
        uint64_t stop = min_u64(min_u64(at + IMAGE_SECTOR, loss->end), image->durable.size);
        if ((sector >= first && sector < end) || at >= stop) continue;
        memcpy(image->durable.data + at, loss->old + (at - loss->begin), stop - at);
    }
    image->apart = true;
    image_lose(image, false);
}

void image_begins(struct image *image, bool stream)
{
    image->stream = stream;
    image->fresh_begin = image->fresh_end = 0;
}

/* Does the next sync write something behind all that was synced before? */
static bool stream_goes_on(const struct image *image)
{
    uint64_t s = max_u64(image->first_marked, image->fresh_end / IMAGE_SECTOR);
    for (; s < image->end_marked; s++) {
        uint64_t at = s * IMAGE_SECTOR, end = min_u64(at + IMAGE_SECTOR, image->seen.size);
        while (mark_at(image, s) && at < end) {
            if (image->seen.data[at++] != 0) return true;
        }
    }
    return false;
}

bool image_sync(struct image *image)
{
    if (!side_reserve(&image->durable, image->seen.size)) return false;
    bool proves = image->end_marked > 0 && (!image->stream || stream_goes_on(image));
    bool shows = image->loss.old != NULL && proves;
    if (image->loss.wanted && !loss_begin(image)) return false;
    uint64_t first_marked = image->first_marked, end_marked = image->end_marked;
    if (proves) {
        image->fresh_begin = first_marked * IMAGE_SECTOR;
        image->fresh_end = end_marked * IMAGE_SECTOR;
    }
    if (image->apart) side_resize(&image->durable, image->seen.size);
    image->durable.size = image->seen.size; /* what it grew by is marked, and comes now */
    for (uint64_t s = image->first_marked; s < image->end_marked;) {
        if (!mark_at(image, s)) {
            s++;
            continue;
        }
        uint64_t first = s;
        while (s < image->end_marked && mark_at(image, s))
            s++;
        image_copy(image, first * IMAGE_SECTOR, s * IMAGE_SECTOR);
    }
    image_forget_marks(image);
    CHECK_SLOW(sides_agree(image));
    if (shows) loss_shows(image, first_marked, end_marked);
    return true;
}

/* One unit of the page cache holds again what the disk has. */
static void unit_goes_back(struct image *image, uint64_t begin, uint64_t end)
{
    end = min_u64(end, image->seen.size);
    uint64_t there = min_u64(end, image->durable.size);
    if (begin < there) memcpy(image->seen.data + begin, image->durable.data + begin, there - begin);
    begin = max_u64(begin, there);
    if (begin < end) memset(image->seen.data + begin, 0, end - begin);
}

void image_sync_fails(struct image *image, enum image_failure how, struct prng *prng)
{
    uint64_t sectors = IMAGE_PAGE / IMAGE_SECTOR;
    for (uint64_t s = image->first_marked / sectors * sectors;
         how != IMAGE_KEEPS && s < image->end_marked; s += sectors) {
        if (how == IMAGE_DROPS && prng_chance(prng, 1, 2)) continue;
        unit_goes_back(image, s * IMAGE_SECTOR, s * IMAGE_SECTOR + IMAGE_PAGE);
    }
    image->apart = true;
    image_forget_marks(image);
}

static bool marked_in(const struct image *image, uint64_t begin, uint64_t end)
{
    for (uint64_t s = max_u64(begin / IMAGE_SECTOR, image->first_marked);
         s < min_u64(image->end_marked, (end + IMAGE_SECTOR - 1) / IMAGE_SECTOR); s++) {
        if (mark_at(image, s)) return true;
    }
    return false;
}

bool image_open_at(const struct image *image, uint64_t offset, uint64_t len)
{
    uint64_t end = offset + len;
    return (offset < image->fresh_end && end > image->fresh_begin) ||
           (offset < image->loss.end && end > image->loss.begin) || marked_in(image, offset, end);
}

void image_harm(struct image *image, uint64_t offset, struct kelp_bytes bytes, bool cached)
{
    uint64_t end = min_u64(offset + bytes.len, image->durable.size);
    if (offset >= end) return;
    memcpy(image->durable.data + offset, bytes.data, end - offset);
    image->apart = true;
    uint64_t seen = min_u64(end, image->seen.size);
    if (!cached && offset < seen && !marked_in(image, offset, seen))
        memcpy(image->seen.data + offset, bytes.data, seen - offset);
}

/* The size a power cut leaves: the old one, the new one, or something between. */
static uint64_t size_after(const struct image *image, struct prng *prng)
{
    uint64_t old = image->durable.size, new = image->seen.size;
    if (old == new) return old;
    switch (prng_below(prng, 3)) {
    case 0: return old;
    case 1: return new;
    }
    uint64_t low = min_u64(old, new), high = max_u64(old, new);
    return min_u64(high, low + prng_below(prng, (high - low) / IMAGE_SECTOR + 1) * IMAGE_SECTOR);
}

static bool byte_differs(const struct image *image, uint64_t at)
{
    uint8_t seen = at < image->seen.size ? image->seen.data[at] : 0;
    return image->durable.data[at] != seen;
}

/* Narrow begin..end to what a sync would change; anywhere else a tear could not be told from a
 * write that was kept or dropped, and most units hold a few bytes and zeros. */
static void unit_narrow(const struct image *image, uint64_t *begin, uint64_t *end)
{
    *end = max_u64(*begin, min_u64(*end, image->durable.size));
    while (*begin < *end && !byte_differs(image, *begin))
        ++*begin;
    while (*begin < *end && !byte_differs(image, *end - 1))
        --*end;
}

/* The head was over this sector when the power went: whatever it holds now. */
static void sector_garbled(struct image *image, struct prng *prng, uint64_t at)
{
    uint64_t begin = at / IMAGE_SECTOR * IMAGE_SECTOR;
    uint64_t end = min_u64(begin + IMAGE_SECTOR, image->durable.size);
    for (; begin < end; begin++)
        image->durable.data[begin] = (uint8_t)prng_next(prng);
}

static void unit_torn(struct image *image, struct prng *prng, uint64_t begin, uint64_t end,
                      bool garbled)
{
    unit_narrow(image, &begin, &end);
    if (begin == end) return;
    uint64_t middle = begin + prng_below(prng, end - begin);
    if (garbled && prng_chance(prng, 1, 2)) {
        sector_garbled(image, prng, middle);
        return;
    }
    /* Its first bytes are new, the others old; or the other way round. */
    if (prng_chance(prng, 1, 4))
        image_copy(image, middle, end);
    else
        image_copy(image, begin, middle);
}

enum cut_kind { CUT_MIXED, CUT_TEARS };

static void unit_cut(struct image *image, struct prng *prng, uint64_t begin, uint64_t end,
                     enum cut_kind kind, bool garbled, struct image_cut *cut)
{
    switch (kind == CUT_TEARS ? 3 : prng_below(prng, 4)) {
    case 0:
    case 1:
        image_copy(image, begin, end);
        cut->kept++;
        return;
    case 2: cut->dropped++; return;
    }
    cut->torn++;
    unit_torn(image, prng, begin, end, garbled);
}

struct image_cut image_power_cut(struct image *image, struct prng *prng, uint32_t tear_bytes,
                                 bool garbled)
{
    struct image_cut cut = {0};
    image_lose(image, false); /* it arrived: without a later write nothing would show the loss */
    bool dirty = image->end_marked > 0 || image->seen.size != image->durable.size;
    if (!dirty && !image->apart) {
        CHECK_SLOW(sides_agree(image));
        return cut;
    }
    uint64_t begin = 0, end = UINT64_MAX; /* of where the sides may differ now */
    if (dirty) {
        /* Sometimes nothing stays whole: what trusts one of two copies must not write both. */
        enum cut_kind kind = prng_chance(prng, 1, 4) ? CUT_TEARS : CUT_MIXED;
        uint64_t size = size_after(image, prng);
        if (!side_reserve(&image->durable, size)) abort(); /* a test program out of memory */
        side_resize(&image->durable, size);
        uint64_t step = tear_bytes / IMAGE_SECTOR, s = image->first_marked;
        s -= image->end_marked > 0 ? s % step : 0;
        if (!image->apart) begin = s * IMAGE_SECTOR;
        for (; s < image->end_marked; s += step) {
            bool marked = false;
            for (uint64_t i = s; i < s + step && i < image->end_marked; i++)
                marked = marked || mark_at(image, i);
            if (!marked) continue;
            unit_cut(image, prng, s * IMAGE_SECTOR, (s + step) * IMAGE_SECTOR, kind, garbled, &cut);
        }
        if (!image->apart) end = s * IMAGE_SECTOR;
    }
    image_forget_marks(image);
    seen_resize(image, min_u64(image->seen.size, image->durable.size));
    if (!side_reserve(&image->seen, image->durable.size)) abort();
    seen_resize(image, image->durable.size);
    end = min_u64(end, image->seen.size);
    if (begin < end) memcpy(image->seen.data + begin, image->durable.data + begin, end - begin);
    image->apart = false;
    CHECK_SLOW(sides_agree(image));
    return cut;
}

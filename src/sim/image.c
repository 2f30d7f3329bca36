/* SPDX-License-Identifier: Apache-2.0 */
/* image.c - the two sides of a simulated file.
 *
 * Most of what a log is made of is zeros, written ahead of their use. A side holds bytes up to the
 * end of the last write of anything else; what lies behind them, up to the file's size, is zero and
 * takes neither memory nor a copy. */
#include "sim/image.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/min.h"

#define MARK_BITS  64u
#define ROOM_MIN   8192u
#define IMAGE_PAGE 4096u
#define PIECE      64u /* looked at together */

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
    uint64_t room = max_u64(max_u64(ROOM_MIN, side->size), side->room);
    while (room < size)
        room *= 2;
    uint8_t *data = realloc(side->data, room);
    if (data == NULL) return false;
    side->data = data;
    side->room = room;
    return true;
}

/* What a file grows by reads as zeros. */
static void side_resize(struct image_side *side, uint64_t size)
{
    side->size = size;
    side->held = min_u64(side->held, size);
}

/* Room for begin..end, which the caller fills; the gap before it is zeros. */
static bool side_open(struct image_side *side, uint64_t begin, uint64_t end)
{
    if (!side_reserve(side, end)) return false;
    if (begin > side->held) memset(side->data + side->held, 0, begin - side->held);
    side->held = max_u64(side->held, end);
    return true;
}

static void side_zero(struct image_side *side, uint64_t begin, uint64_t end)
{
    if (begin >= min_u64(end, side->held)) return;
    if (end >= side->held)
        side->held = begin;
    else
        memset(side->data + begin, 0, end - begin);
}

/* begin..end of to becomes what from has there, zeros where that has ended. */
static bool side_copy(struct image_side *to, const struct image_side *from, uint64_t begin,
                      uint64_t end)
{
    end = min_u64(end, to->size);
    uint64_t held = min_u64(end, from->held);
    if (begin < held) {
        if (!side_open(to, begin, held)) return false;
        memcpy(to->data + begin, from->data + begin, held - begin);
    }
    side_zero(to, max_u64(begin, held), end);
    return true;
}

uint8_t image_side_byte(const struct image_side *side, uint64_t at)
{
    return at < side->held ? side->data[at] : 0;
}

void image_side_read(const struct image_side *side, uint64_t offset, uint8_t *out, size_t len)
{
    size_t held = (size_t)min_u64(sub_sat(side->held, offset), len);
    if (held > 0) memcpy(out, side->data + offset, held);
    if (held < len) memset(out + held, 0, len - held);
}

static bool all_zero(struct kelp_bytes bytes)
{
    static const uint8_t zeros[IMAGE_PAGE];
    for (size_t at = 0; at < bytes.len; at += sizeof zeros) {
        if (memcmp(bytes.data + at, zeros, min_u64(bytes.len - at, sizeof zeros)) != 0)
            return false;
    }
    return true;
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
    if (a->size != b->size) return false;
    for (uint64_t at = 0; at < max_u64(a->held, b->held); at++) {
        if (image_side_byte(a, at) != image_side_byte(b, at)) return false;
    }
    return true;
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
    for (uint64_t word = first / MARK_BITS; word <= last / MARK_BITS; word++) {
        uint64_t low = max_u64(first, word * MARK_BITS) % MARK_BITS;
        uint64_t high = min_u64(last, word * MARK_BITS + MARK_BITS - 1) % MARK_BITS;
        image->marks[word] |= UINT64_MAX << low & UINT64_MAX >> (MARK_BITS - 1 - high);
    }
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
    bool zeros = end > image->seen.held && all_zero(bytes);
    if (!marks_reserve(image, end)) return false;
    if (offset > image->seen.size) { /* a hole, which no mark tells of */
        seen_resize(image, offset);
        image->apart = true;
    }
    if (!zeros && !side_open(&image->seen, offset, end)) return false;
    *image->used += sub_sat(end, image->seen.size);
    image->seen.size = max_u64(image->seen.size, end);
    if (zeros)
        side_zero(&image->seen, offset, end);
    else
        memcpy(image->seen.data + offset, bytes.data, bytes.len);
    marks_set(image, offset, end);
    return true;
}

bool image_resize(struct image *image, uint64_t size)
{
    uint64_t before = image->seen.size, most = max_u64(before, size);
    if (!marks_reserve(image, most)) return false;
    seen_resize(image, size);
    marks_set(image, min_u64(before, size), most);
    return true;
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
    uint8_t *old = malloc(end - begin);
    if (old == NULL) return false;
    image_side_read(&image->durable, begin, old, (size_t)(end - begin));
    image->loss = (struct image_loss){.begin = begin, .end = end, .old = old};
    return true;
}

/* After the sync of something else: what was written before is as if it had never been. */
static bool loss_shows(struct image *image, uint64_t first, uint64_t end)
{
    struct image_loss *loss = &image->loss;
    for (uint64_t at = loss->begin; at < loss->end; at += IMAGE_SECTOR) {
        uint64_t sector = at / IMAGE_SECTOR;
        uint64_t stop = min_u64(min_u64(at + IMAGE_SECTOR, loss->end), image->durable.size);
        if ((sector >= first && sector < end) || at >= stop) continue;
        if (!side_open(&image->durable, at, stop)) return false;
        memcpy(image->durable.data + at, loss->old + (at - loss->begin), stop - at);
    }
    image->apart = true;
    image_lose(image, false);
    return true;
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
        uint64_t at = s * IMAGE_SECTOR, end = min_u64(at + IMAGE_SECTOR, image->seen.held);
        while (mark_at(image, s) && at < end) {
            if (image->seen.data[at++] != 0) return true;
        }
    }
    return false;
}

bool image_sync(struct image *image)
{
    bool proves = image->end_marked > 0 && (!image->stream || stream_goes_on(image));
    bool shows = image->loss.old != NULL && proves;
    if (image->loss.wanted && !loss_begin(image)) return false;
    uint64_t first_marked = image->first_marked, end_marked = image->end_marked;
    if (proves) {
        image->fresh_begin = first_marked * IMAGE_SECTOR;
        image->fresh_end = end_marked * IMAGE_SECTOR;
    }
    side_resize(&image->durable, image->seen.size);
    for (uint64_t s = image->first_marked; s < image->end_marked;) {
        if (!mark_at(image, s)) {
            s++;
            continue;
        }
        uint64_t first = s;
        while (s < image->end_marked && mark_at(image, s))
            s++;
        if (!side_copy(&image->durable, &image->seen, first * IMAGE_SECTOR, s * IMAGE_SECTOR))
            return false;
    }
    image_forget_marks(image);
    CHECK_SLOW(sides_agree(image));
    return !shows || loss_shows(image, first_marked, end_marked);
}

/* A test program out of memory. */
static void must_copy(struct image_side *to, const struct image_side *from, uint64_t begin,
                      uint64_t end)
{
    if (!side_copy(to, from, begin, end)) abort();
}

void image_sync_fails(struct image *image, enum image_failure how, struct prng *prng)
{
    uint64_t sectors = IMAGE_PAGE / IMAGE_SECTOR;
    for (uint64_t s = image->first_marked / sectors * sectors;
         how != IMAGE_KEEPS && s < image->end_marked; s += sectors) {
        if (how == IMAGE_DROPS && prng_chance(prng, 1, 2)) continue;
        /* this unit of the page cache holds again what the disk has */
        must_copy(&image->seen, &image->durable, s * IMAGE_SECTOR, s * IMAGE_SECTOR + IMAGE_PAGE);
    }
    image->apart = true;
    image_forget_marks(image);
}

void image_forget_cache(struct image *image)
{
    if (!image->apart) return;
    uint64_t size = min_u64(image->seen.size, image->durable.size);
    for (uint64_t begin = 0; begin < size; begin += IMAGE_SECTOR) {
        if (mark_at(image, begin / IMAGE_SECTOR)) continue;
        must_copy(&image->seen, &image->durable, begin, min_u64(begin + IMAGE_SECTOR, size));
    }
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
    if (!side_open(&image->durable, offset, end)) abort(); /* as above */
    memcpy(image->durable.data + offset, bytes.data, end - offset);
    image->apart = true;
    uint64_t seen = min_u64(end, image->seen.size);
    if (!cached && offset < seen && !marked_in(image, offset, seen))
        must_copy(&image->seen, &image->durable, offset, seen);
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
    return image_side_byte(&image->durable, at) != image_side_byte(&image->seen, at);
}

/* Are begin..end held by both sides, and the same? If not they are asked one by one. */
static bool piece_agrees(const struct image *image, uint64_t begin, uint64_t end)
{
    if (end > min_u64(image->seen.held, image->durable.held)) return false;
    return memcmp(image->seen.data + begin, image->durable.data + begin, end - begin) == 0;
}

/* Narrow begin..end to what a sync would change; anywhere else a tear could not be told from a
 * write that was kept or dropped, and most units hold a few bytes and zeros. */
static void unit_narrow(const struct image *image, uint64_t *begin, uint64_t *end)
{
    uint64_t held = max_u64(image->seen.held, image->durable.held); /* only zeros behind */
    *end = max_u64(*begin, min_u64(min_u64(*end, held), image->durable.size));
    while (*end - *begin >= PIECE && piece_agrees(image, *begin, *begin + PIECE))
        *begin += PIECE;
    while (*end - *begin >= PIECE && piece_agrees(image, *end - PIECE, *end))
        *end -= PIECE;
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
    if (!side_open(&image->durable, begin, end)) abort();
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
        must_copy(&image->durable, &image->seen, middle, end);
    else
        must_copy(&image->durable, &image->seen, begin, middle);
}

enum cut_kind { CUT_MIXED, CUT_TEARS };

static void unit_cut(struct image *image, struct prng *prng, uint64_t begin, uint64_t end,
                     enum cut_kind kind, bool garbled, struct image_cut *cut)
{
    switch (kind == CUT_TEARS ? 3 : prng_below(prng, 4)) {
    case 0:
    case 1:
        must_copy(&image->durable, &image->seen, begin, end);
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
    seen_resize(image, image->durable.size);
    must_copy(&image->seen, &image->durable, begin, end);
    image->apart = false;
    CHECK_SLOW(sides_agree(image));
    return cut;
}

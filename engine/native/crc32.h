/* CRC-32 as zlib has it: eight bytes at a time from tables, and by carry-less multiplication where the processor
 * has it. Source of the latter: Gopal and others, "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ
 * Instruction", Intel 2009; its constants are those of the reflected polynomial 0xEDB88320. */
#ifndef ENGINE_CRC32_H
#define ENGINE_CRC32_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define CRC32_FOLD_BYTES 64 /* least length that is folded */

static uint32_t crc32_tables[8][256];
static int crc32_folds = 0;

static void crc32_init(void) {
    for (uint32_t n = 0; n < 256; n++) {
        uint32_t c = n;
        for (int k = 0; k < 8; k++) c = c & 1 ? 0xEDB88320u ^ (c >> 1) : c >> 1;
        crc32_tables[0][n] = c;
    }
    for (uint32_t n = 0; n < 256; n++)
        for (int k = 1; k < 8; k++)
            crc32_tables[k][n] = crc32_tables[0][crc32_tables[k - 1][n] & 255] ^ (crc32_tables[k - 1][n] >> 8);
#if defined(__x86_64__)
    __builtin_cpu_init();
    crc32_folds = __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1");
#endif
}

/* `c` is inverted, as is the result. */
static inline uint32_t crc32_slices(uint32_t c, const unsigned char *p, size_t size) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    while (size >= 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        word ^= c;
        c = crc32_tables[7][word & 255] ^ crc32_tables[6][(word >> 8) & 255] ^ crc32_tables[5][(word >> 16) & 255] ^
            crc32_tables[4][(word >> 24) & 255] ^ crc32_tables[3][(word >> 32) & 255] ^
            crc32_tables[2][(word >> 40) & 255] ^ crc32_tables[1][(word >> 48) & 255] ^ crc32_tables[0][word >> 56];
        p += 8;
        size -= 8;
    }
#endif
    while (size--) c = crc32_tables[0][(c ^ *p++) & 255] ^ (c >> 8);
    return c;
}

#if defined(__x86_64__)
/* `c` is inverted; size is at least 64 and a multiple of 16. */
__attribute__((target("pclmul,sse4.1"))) static uint32_t crc32_fold(uint32_t c, const unsigned char *p, size_t size) {
    const __m128i by_four = _mm_set_epi64x(0x01c6e41596, 0x0154442bd4);
    const __m128i by_one = _mm_set_epi64x(0x00ccaa009e, 0x01751997d0);
    const __m128i to_64 = _mm_set_epi64x(0, 0x0163cd6124);
    const __m128i barrett = _mm_set_epi64x(0x01f7011641, 0x01db710641);
    const __m128i low_word = _mm_setr_epi32(~0, 0, ~0, 0);
    __m128i a, b, d, e, t;
#define CRC32_LOAD(offset) _mm_loadu_si128((const __m128i *)(p + (offset)))
#define CRC32_STEP(x, k, next)                       \
    t = _mm_clmulepi64_si128(x, k, 0x00);            \
    x = _mm_clmulepi64_si128(x, k, 0x11);            \
    x = _mm_xor_si128(_mm_xor_si128(x, t), next)
    a = _mm_xor_si128(CRC32_LOAD(0), _mm_cvtsi32_si128((int)c));
    b = CRC32_LOAD(16);
    d = CRC32_LOAD(32);
    e = CRC32_LOAD(48);
    p += 64;
    size -= 64;
    while (size >= 64) {
        CRC32_STEP(a, by_four, CRC32_LOAD(0));
        CRC32_STEP(b, by_four, CRC32_LOAD(16));
        CRC32_STEP(d, by_four, CRC32_LOAD(32));
        CRC32_STEP(e, by_four, CRC32_LOAD(48));
        p += 64;
        size -= 64;
    }
    CRC32_STEP(a, by_one, b);
    CRC32_STEP(a, by_one, d);
    CRC32_STEP(a, by_one, e);
    while (size >= 16) {
        CRC32_STEP(a, by_one, CRC32_LOAD(0));
        p += 16;
        size -= 16;
    }
#undef CRC32_STEP
#undef CRC32_LOAD
    t = _mm_clmulepi64_si128(a, by_one, 0x10); /* 128 bits to 64 */
    a = _mm_xor_si128(_mm_srli_si128(a, 8), t);
    t = _mm_srli_si128(a, 4);
    a = _mm_and_si128(a, low_word);
    a = _mm_xor_si128(_mm_clmulepi64_si128(a, to_64, 0x00), t);
    t = _mm_and_si128(a, low_word); /* Barrett's reduction to 32 */
    t = _mm_and_si128(_mm_clmulepi64_si128(t, barrett, 0x10), low_word);
    t = _mm_clmulepi64_si128(t, barrett, 0x00);
    return (uint32_t)_mm_extract_epi32(_mm_xor_si128(a, t), 1);
}
#endif

/* As zlib.crc32(text, crc). */
static inline uint32_t crc32_of(uint32_t crc, const char *text, size_t size) {
    const unsigned char *p = (const unsigned char *)text;
    uint32_t c = ~crc;
#if defined(__x86_64__)
    if (crc32_folds && size >= CRC32_FOLD_BYTES) {
        size_t folded = size & ~(size_t)15;
        c = crc32_fold(c, p, folded);
        p += folded;
        size -= folded;
    }
#endif
    return ~crc32_slices(c, p, size);
}

#endif

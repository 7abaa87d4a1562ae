// cuda_on_host.h - one kernel source, two compilers (test-only when compiled by g++).
//   nvcc: thin aliases over real CUDA.     g++/clang++ (-x c++ file.cu): CPU execution of the kernels,
//   each CUDA thread a fiber, each block scheduled cooperatively, blocks spread over OS threads.
// Conventions: gpu::launch(kernel, grid, block, smem, stream, args...) instead of <<<>>>,
//   GPU_SHARED(T, name, [dims]) (or plain __shared__), GPU_DYN_SHARED(T, name).
// Options (env or coh::options()): COH_WORKERS, COH_ORDER=forward|reverse|random, COH_SEED,
//   COH_YIELD (% chance to switch thread at an atomic), COH_FILL (byte put in fresh shared memory),
//   COH_EXITED_OK (tolerate threads that returned before __syncthreads), COH_STACK_KB.
#pragma once
#include <cstddef>
#include <cstdint>
#include <utility>

#include <sys/mman.h>
#include <unistd.h>
#include <pthread.h>
#include <atomic>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>
#include <type_traits>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#define COH_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define COH_ASAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define COH_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define COH_TSAN 1
#endif
#endif
#ifdef COH_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef COH_TSAN
extern "C" {
void* __tsan_get_current_fiber(void);
void* __tsan_create_fiber(unsigned);
void __tsan_destroy_fiber(void*);
void __tsan_switch_to_fiber(void*, unsigned);
void __tsan_acquire(void*);
void __tsan_release(void*);
void AnnotateIgnoreReadsBegin(const char*, int);
void AnnotateIgnoreReadsEnd(const char*, int);
void AnnotateIgnoreWritesBegin(const char*, int);
void AnnotateIgnoreWritesEnd(const char*, int);
}
#define COH_ACQ(p) __tsan_acquire((void*)(p))
#define COH_REL(p) __tsan_release((void*)(p))
#define COH_RT __attribute__((no_sanitize("thread")))
#else
#define COH_ACQ(p) ((void)0)
#define COH_REL(p) ((void)0)
#define COH_RT
#endif
#if !defined(__x86_64__) && !defined(COH_UCONTEXT)
#define COH_UCONTEXT 1
#endif
#ifdef COH_UCONTEXT
#include <ucontext.h>
#endif

// ---- language and types -----------------------------------------------------------------------
#ifdef COH_TOOLKIT  // optional: take vector, half and bfloat16 types from the CUDA toolkit headers
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime_api.h>
#include <vector_functions.h>
#include <vector_types.h>
#undef __global__
#undef __device__
#undef __host__
#undef __shared__
#undef __constant__
#undef __forceinline__
#undef __launch_bounds__
#undef __align__
#undef __grid_constant__
#endif
#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(n) __attribute__((aligned(n)))
#if defined(COH_TSAN)
#define __shared__ _Pragma("GCC error \"GPU_SHARED is needed for race checking\"") static
#define COH_ONE_WORKER 1
#elif defined(COH_ASAN)
#define __shared__ static  // ASan puts red zones round plain statics only; forces one worker
#define COH_ONE_WORKER 1
#else
#define __shared__ static thread_local
#endif
#ifndef COH_TOOLKIT
#define COH_V1(N, T, a) struct N { T x; };
#define COH_V(T, S, A2, A4)                                                     \
  struct __align__(A2) S##2 { T x, y; };                                        \
  struct S##3 { T x, y, z; };                                                   \
  struct __align__(A4) S##4 { T x, y, z, w; };                                  \
  inline S##2 make_##S##2(T x, T y) { return {x, y}; }                          \
  inline S##3 make_##S##3(T x, T y, T z) { return {x, y, z}; }                  \
  inline S##4 make_##S##4(T x, T y, T z, T w) { return {x, y, z, w}; }
COH_V(float, float, 8, 16) COH_V(int, int, 8, 16) COH_V(unsigned, uint, 8, 16)
COH_V(unsigned char, uchar, 2, 4) COH_V(short, short, 4, 8) COH_V(double, double, 16, 16)
struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned a = 1, unsigned b = 1, unsigned c = 1) : x(a), y(b), z(c) {}
};
typedef struct CUstream_st* cudaStream_t;
typedef int cudaError_t;
enum { cudaSuccess = 0, cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2, cudaMemcpyDeviceToDevice = 3 };
inline cudaError_t cudaGetLastError() { return cudaSuccess; }  // launch errors throw instead
inline const char* cudaGetErrorString(cudaError_t) { return "ok"; }
inline cudaError_t cudaDeviceSynchronize() { return cudaSuccess; }
inline cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }
template <class T> cudaError_t cudaMalloc(T** p, size_t n) { *p = (T*)malloc(n); if (*p) memset((void*)*p, 0xFB, n); return *p ? 0 : 2; }
inline cudaError_t cudaFree(void* p) { free(p); return 0; }
inline cudaError_t cudaMemcpyAsync(void* d, const void* s, size_t n, int, cudaStream_t = nullptr) { memcpy(d, s, n); return 0; }
inline cudaError_t cudaMemcpy(void* d, const void* s, size_t n, int) { memcpy(d, s, n); return 0; }
inline cudaError_t cudaMemsetAsync(void* d, int v, size_t n, cudaStream_t = nullptr) { memset(d, v, n); return 0; }
// half and bfloat16: storage types with round-to-nearest-even conversions; arithmetic goes through float
namespace coh {
inline float bits_f(uint32_t u) { float f; memcpy(&f, &u, 4); return f; }
inline uint32_t f_bits(float f) { uint32_t u; memcpy(&u, &f, 4); return u; }
inline uint16_t f2h(float f) {
  uint32_t u = f_bits(f), s = (u >> 16) & 0x8000u, a = u & 0x7fffffffu;
  if (a > 0x7f800000u) return 0x7fff;                        // NaN (CUDA's canonical one)
  if (a >= 0x477ff000u) return uint16_t(s | 0x7c00u);        // rounds to infinity
  if (a >= 0x38800000u) { uint32_t r = a - 0x38000000u; return uint16_t(s | ((r + 0xfffu + ((r >> 13) & 1)) >> 13)); }
  if (a <= 0x33000000u) return uint16_t(s);                  // at most half the smallest subnormal: zero
  uint32_t m = (a & 0x7fffffu) | 0x800000u; int sh = 126 - int(a >> 23);  // 14..24
  uint32_t q = m >> sh, rem = m & ((1u << sh) - 1), hf = 1u << (sh - 1);
  return uint16_t(s | (q + (rem > hf || (rem == hf && (q & 1)))));
}
inline float h2f(uint16_t h) {
  uint32_t s = uint32_t(h & 0x8000u) << 16, e = (h >> 10) & 31, m = h & 0x3ffu;
  if (e == 31) return bits_f(s | 0x7f800000u | (m << 13));
  if (e) return bits_f(s | ((e + 112) << 23) | (m << 13));
  float v = float(m) * 5.9604644775390625e-8f;               // m * 2^-24, exact
  return s ? -v : v;
}
inline uint16_t f2b(float f) {
  uint32_t u = f_bits(f);
  if ((u & 0x7fffffffu) > 0x7f800000u) return 0x7fff;
  return uint16_t((u + 0x7fffu + ((u >> 16) & 1)) >> 16);
}
inline float b2f(uint16_t b) { return bits_f(uint32_t(b) << 16); }
}  // namespace coh
#define COH_F16(N, TO, FROM)                                                                   \
  struct __align__(2) N {                                                                      \
    uint16_t bits;                                                                             \
    N() = default;                                                                             \
    N(float f) : bits(coh::TO(f)) {}                                                           \
    operator float() const { return coh::FROM(bits); }                                         \
    N& operator+=(N o) { return *this = N(float(*this) + float(o)); }                          \
    N& operator*=(N o) { return *this = N(float(*this) * float(o)); }                          \
  };                                                                                           \
  inline N operator+(N a, N b) { return N(float(a) + float(b)); }                              \
  inline N operator-(N a, N b) { return N(float(a) - float(b)); }                              \
  inline N operator*(N a, N b) { return N(float(a) * float(b)); }                              \
  inline N operator/(N a, N b) { return N(float(a) / float(b)); }
COH_F16(__half, f2h, h2f) COH_F16(__nv_bfloat16, f2b, b2f)
typedef __half half;
typedef __nv_bfloat16 nv_bfloat16;
inline __half __float2half(float f) { return __half(f); }
inline __half __float2half_rn(float f) { return __half(f); }
inline float __half2float(__half h) { return float(h); }
inline __nv_bfloat16 __float2bfloat16(float f) { return __nv_bfloat16(f); }
inline __nv_bfloat16 __float2bfloat16_rn(float f) { return __nv_bfloat16(f); }
inline float __bfloat162float(__nv_bfloat16 h) { return float(h); }
#endif  // !COH_TOOLKIT

inline thread_local uint3 threadIdx{0, 0, 0};
inline thread_local uint3 blockIdx{0, 0, 0};
inline thread_local dim3 blockDim{};
inline thread_local dim3 gridDim{};
constexpr int warpSize = 32;

namespace coh {
// ---- options, errors, statistics ----------------------------------------------------------------
enum Order { Forward, Reverse, Random };
struct Options {
  int workers = 1, order = Forward, yield_percent = 0, fill = 0xFB;
  uint64_t seed = 1;
  bool exited_ok = false;
  size_t stack = 64 << 10;
};
struct error : std::runtime_error { using std::runtime_error::runtime_error; };
inline Options& options() {
  static Options o = [] {
    Options r;
    auto num = [](const char* n, long d) { const char* s = getenv(n); return s ? strtol(s, nullptr, 0) : d; };
    r.workers = (int)num("COH_WORKERS", 1);
    r.seed = (uint64_t)num("COH_SEED", 1);
    r.yield_percent = (int)num("COH_YIELD", 0);
    r.fill = (int)num("COH_FILL", 0xFB);
    r.exited_ok = num("COH_EXITED_OK", 0) != 0;
#if defined(COH_ASAN) || defined(COH_TSAN)
    r.stack = 256 << 10;
#endif
    r.stack = (size_t)num("COH_STACK_KB", long(r.stack >> 10)) << 10;
    if (const char* s = getenv("COH_ORDER")) r.order = s[0] == 'f' ? Forward : s[0] == 'r' && s[1] == 'e' ? Reverse : Random;
    return r;
  }();
  return o;
}
struct Stats { std::atomic<uint64_t> threads{0}, switches{0}, barriers{0}, warp_ops{0}, smem_max{0}; };
inline Stats stats;

enum Op : uint8_t { OpNone, OpSync, OpShfl, OpBallot, OpMatchAny, OpAdd, OpMinU, OpMaxU, OpMinS, OpMaxS, OpAnd, OpOr, OpXor,
                    BarSync, BarCount, BarAnd, BarOr };
inline const char* op_name(int o) {
  static const char* n[] = {"-", "__syncwarp", "__shfl_sync", "__ballot/any/all_sync", "__match_any_sync", "__reduce_add_sync",
      "__reduce_min_sync(u)", "__reduce_max_sync(u)", "__reduce_min_sync", "__reduce_max_sync", "__reduce_and_sync", "__reduce_or_sync",
      "__reduce_xor_sync", "__syncthreads", "__syncthreads_count", "__syncthreads_and", "__syncthreads_or"};
  return n[o];
}
enum State : uint8_t { Fresh, Ready, Running, Waiting, Done };
struct Thread;
struct Fiber {
#ifdef COH_UCONTEXT
  ucontext_t uc;
#else
  void* sp = nullptr;
#endif
  char* map = nullptr; size_t size = 0;    // whole mapping; the lowest page is a guard
  char* lo = nullptr; size_t len = 0;      // usable stack
  Thread* thr = nullptr;
  void* fake = nullptr;                    // ASan
  void* tsan = nullptr;
};
struct Thread {
  uint3 tid; unsigned lin; State st; Fiber* fib;
  Op op; unsigned mask; int arg; uint64_t val, res; const char* file; int line; char* sync;
};
struct Group { Op op; unsigned mask, arrived; char* sync; };      // one pending warp collective
struct Warp { Group g[32]; int ng; unsigned alive; unsigned rot; char* sync; };
struct Slot { const void* key; void* p; };

#ifndef COH_UCONTEXT
#ifdef __clang__
#define COH_NOIPA
#else
#define COH_NOIPA noipa,  // or GCC might conclude that a switch leaves memory (the block's shared variables) untouched
#endif
__attribute__((naked, noinline, COH_NOIPA used, no_sanitize("thread", "address"))) static void swap_stacks(void** /*save*/, void* /*load*/) {
  asm volatile(
      "pushq %rbp\n\tpushq %rbx\n\tpushq %r12\n\tpushq %r13\n\tpushq %r14\n\tpushq %r15\n\t"
      "movq %rsp,(%rdi)\n\tmovq %rsi,%rsp\n\t"
      "popq %r15\n\tpopq %r14\n\tpopq %r13\n\tpopq %r12\n\tpopq %rbx\n\tpopq %rbp\n\tret");
}
#endif
struct Job { dim3 g, b; size_t smem; void (*fn)(const void*); const void* ctx; };
struct Worker;
inline thread_local Worker* tl = nullptr;
void fiber_main();

struct IgnoreGuard {  // runtime bookkeeping is not the kernel's memory traffic
#ifdef COH_TSAN
  COH_RT IgnoreGuard() { AnnotateIgnoreReadsBegin("", 0); AnnotateIgnoreWritesBegin("", 0); }
  COH_RT ~IgnoreGuard() { AnnotateIgnoreWritesEnd("", 0); AnnotateIgnoreReadsEnd("", 0); }
#else
  IgnoreGuard() {}
#endif
};

struct Worker {
  static constexpr unsigned kMax = 1024;
  static constexpr size_t kArena = 256 << 10;
  const Job* job = nullptr;
  Thread thr[kMax]; Warp warp[kMax / 32]; uint16_t order[kMax];
  unsigned n = 0, next = 0, done = 0, nbar = 0;
  Op bar_op; const char* bar_file; int bar_line; uint64_t bar_acc; unsigned bar_gen = 0; char start_sync, end_sync, *syncs = nullptr;
  Thread* ready[kMax]; unsigned head = 0, nready = 0;
  Fiber *all[2 * kMax], *idle[2 * kMax]; unsigned nall = 0, nidle = 0, turn = 0;  // plain arrays: touched from fibers, unseen by TSan
  Fiber main_f; Fiber* cur = &main_f;
  Options opt; uint64_t rng = 1;
  char* arena = nullptr; size_t used = 0; Slot slots[64]; int nslots = 0; char* dyn = nullptr;
  char errbuf[600], wherebuf[100]; bool failed = false;
  uint64_t n_switch = 0, n_bar_done = 0, n_warp = 0;

  Worker() {
    pthread_attr_t a; void* p; size_t s;
    pthread_getattr_np(pthread_self(), &a); pthread_attr_getstack(&a, &p, &s); pthread_attr_destroy(&a);
    main_f.lo = (char*)p; main_f.len = s;
  }
  ~Worker() { drop_fibers(); free(arena); }
  void drop_fibers() { for (unsigned i = 0; i < nall; ++i) { release(all[i]); delete all[i]; } nall = nidle = 0; }

  COH_RT uint64_t rnd() { rng ^= rng << 13; rng ^= rng >> 7; rng ^= rng << 17; return rng; }
  // -- fibers
  COH_RT void acquire(Fiber* f) {
    size_t pg = 4096; f->size = opt.stack + pg;
    f->map = (char*)mmap(nullptr, f->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (f->map == MAP_FAILED) throw error("cuda_on_host: no memory for a fiber stack");
    mprotect(f->map, pg, PROT_NONE);
    f->lo = f->map + pg; f->len = opt.stack;
    prime(f);
  }
  void release(Fiber* f) {
#ifdef COH_TSAN
    if (f->tsan) __tsan_destroy_fiber(f->tsan);
    f->tsan = nullptr;
#endif
#ifdef COH_ASAN
    __asan_unpoison_memory_region(f->lo, f->len);
#endif
    if (f->map) munmap(f->map, f->size);
    f->map = nullptr;
  }
  COH_RT void prime(Fiber* f) {  // (re)start a fiber from scratch
    f->thr = nullptr; f->fake = nullptr;
#ifdef COH_ASAN
    __asan_unpoison_memory_region(f->lo, f->len);
#endif
#ifdef COH_TSAN
    f->tsan = __tsan_create_fiber(0);
#endif
#ifdef COH_UCONTEXT
    getcontext(&f->uc); f->uc.uc_stack.ss_sp = f->lo; f->uc.uc_stack.ss_size = f->len; f->uc.uc_link = nullptr;
    makecontext(&f->uc, &fiber_main, 0);
#else
    void** top = (void**)(f->lo + f->len);
    *--top = nullptr; *--top = (void*)&fiber_main;
    for (int i = 0; i < 6; ++i) *--top = nullptr;
    f->sp = top;
#endif
  }
  COH_RT __attribute__((noinline)) Fiber* spare() {
    if (nidle) return idle[--nidle];
    IgnoreGuard ig;
    Fiber* f = new Fiber; acquire(f); return all[nall++] = f;
  }
  COH_RT void go(Fiber* to) {
    Fiber* from = cur; if (to == from) return;
    cur = to; ++n_switch;
    if (to->thr) { threadIdx = to->thr->tid; to->thr->st = Running; }
#ifdef COH_ASAN
    __sanitizer_start_switch_fiber(&from->fake, to->lo, to->len);
#endif
#ifdef COH_TSAN
    __tsan_switch_to_fiber(to->tsan, 1 /* no synchronisation */);
#endif
#ifdef COH_UCONTEXT
    swapcontext(&from->uc, &to->uc);
#else
    swap_stacks(&from->sp, to->sp);
#endif
#ifdef COH_ASAN
    __sanitizer_finish_switch_fiber(from->fake, nullptr, nullptr);
#endif
  }
  // -- scheduling
  COH_RT void make_ready(Thread* t) { t->st = Ready; ready[(head + nready++) % kMax] = t; }
  COH_RT void swap_ready(unsigned i) { Thread*& a = ready[(head + i) % kMax]; Thread* t = a; a = ready[head]; ready[head] = t; }
  COH_RT Fiber* pick() {  // next fiber to run; the main context when nothing can
    bool fresh = next < n;
    if (nready && opt.order == Random) {
      unsigned r = unsigned(rnd() % (nready + (n - next)));
      if (r < nready) { swap_ready(r); fresh = false; }
    } else if (nready) {
      if (opt.order == Reverse) swap_ready(nready - 1);
      fresh = false;
    }
    if (fresh) return spare();
    if (!nready) return &main_f;
    Thread* t = ready[head]; head = (head + 1) % kMax; --nready;
    return t->fib;
  }
  COH_RT void wait(Thread* t) { t->st = Waiting; go(pick()); }
  COH_RT void yield() {
    Thread* t = cur->thr; if (!t) return;
    if (rnd() % 100 >= (unsigned)opt.yield_percent) return;
    make_ready(t); Fiber* f = pick();
    if (f == cur) { t->st = Running; return; }
    go(f);
  }
  // The failing thread's stack is abandoned, so nothing on it may own memory.
  [[noreturn]] COH_RT __attribute__((noinline, format(printf, 2, 3))) void fail(const char* fmt, ...) {
    va_list v; va_start(v, fmt);
    if (!failed) vsnprintf(errbuf, sizeof errbuf, fmt, v);
    va_end(v);
    failed = true;
    go(&main_f);
    abort();
  }
  COH_RT const char* where(const Thread* t) {
    snprintf(wherebuf, sizeof wherebuf, "block (%u,%u,%u) thread (%u,%u,%u)", blockIdx.x, blockIdx.y, blockIdx.z, t->tid.x, t->tid.y, t->tid.z);
    return wherebuf;
  }
  COH_RT std::string census() const {  // who waits where
    std::string s; char b[256]; unsigned shown = 0;
    std::vector<char> seen(n, 0);
    for (unsigned i = 0; i < n; ++i) {
      if (seen[i] || thr[i].st != Waiting) continue;
      unsigned c = 0;
      for (unsigned j = i; j < n; ++j)
        if (thr[j].st == Waiting && thr[j].op == thr[i].op && thr[j].line == thr[i].line && thr[j].mask == thr[i].mask) { ++c; seen[j] = 1; }
      if (++shown <= 8) {
        snprintf(b, sizeof b, "\n    %u thread(s), first (%u,%u,%u), wait at %s mask 0x%08x, %s:%d", c, thr[i].tid.x, thr[i].tid.y,
                 thr[i].tid.z, op_name(thr[i].op), thr[i].mask, thr[i].file, thr[i].line);
        s += b;
      }
    }
    unsigned d = 0; for (unsigned i = 0; i < n; ++i) d += thr[i].st == Done;
    snprintf(b, sizeof b, "\n    %u thread(s) of %u have returned", d, n);
    return s + b;
  }
  // -- block barrier
  COH_RT uint64_t barrier(Op op, int pred, const char* file, int line) {
    IgnoreGuard ig;
    Thread* t = need_thread(op, file, line);
    t->op = op; t->mask = ~0u; t->file = file; t->line = line;
    if (done && !opt.exited_ok)
      fail("divergent barrier: %s reached %s at %s:%d after %u thread(s) of its block had returned", where(t), op_name(op), file, line, done);
    if (!nbar) { bar_op = op; bar_file = file; bar_line = line; bar_acc = op == BarAnd; }
    else if (bar_op != op || bar_line != line || strcmp(bar_file, file))
      fail("divergent barrier: %s reached %s at %s:%d while others of its block wait at %s at %s:%d", where(t), op_name(op), file, line,
           op_name(bar_op), bar_file, bar_line);
    if (op == BarCount) bar_acc += pred != 0; else if (op == BarAnd) bar_acc &= pred != 0; else if (op == BarOr) bar_acc |= pred != 0;
    ++nbar;
    char* sv = syncs + (bar_gen & 1) * 8; (void)sv;
    COH_REL(sv);
    if (nbar + done == n) finish_barrier(t); else wait(t);
    COH_ACQ(sv);
    return t->res;
  }
  COH_RT void finish_barrier(Thread* me) {
    nbar = 0; ++bar_gen; ++n_bar_done;
    for (unsigned i = 0; i < n; ++i) {
      Thread* t = &thr[order[i]];
      if (t == me) t->res = bar_acc;
      else if (t->st == Waiting && t->op >= BarSync) { t->res = bar_acc; make_ready(t); }
    }
  }
  // -- warp collectives
  COH_RT uint64_t collective(Op op, unsigned mask, uint64_t val, int arg, const char* file, int line) {
    IgnoreGuard ig;
    Thread* t = need_thread(op, file, line);
    Warp& w = warp[t->lin / 32]; unsigned bit = 1u << (t->lin & 31);
    t->op = op; t->mask = mask; t->val = val; t->arg = arg; t->file = file; t->line = line;
    if (!(mask & bit))
      fail("%s at %s:%d: %s is not in its own mask 0x%08x", op_name(op), file, line, where(t), mask);
    int k = 0;
    while (k < w.ng && w.g[k].mask != mask) ++k;
    if (k == w.ng) w.g[w.ng++] = Group{op, mask, 0, w.sync + w.rot++ % 64 * 8};
    Group& g = w.g[k];
    if (g.op != op)
      fail("divergent warp operation: %s calls %s at %s:%d while lanes of the same mask wait in %s", where(t), op_name(op), file, line, op_name(g.op));
    g.arrived |= bit; t->sync = g.sync;
    if (op == OpSync) COH_REL(t->sync);
    if (g.arrived == (mask & w.alive)) finish_group(w, k, t); else wait(t);
    if (op == OpSync) COH_ACQ(t->sync);
    return t->res;
  }
  COH_RT void finish_group(Warp& w, int k, Thread* me) {
    Group g = w.g[k]; w.g[k] = w.g[--w.ng]; ++n_warp;
    Thread* base = &thr[(&w - warp) * 32];
    uint64_t acc = 0; bool first = true;
    for (int l = 0; l < 32; ++l) if (g.arrived >> l & 1) {
      uint64_t v = base[l].val; uint32_t a = (uint32_t)acc, b = (uint32_t)v;
      switch (g.op) {
        case OpBallot: acc |= uint64_t(v != 0) << l; break;
        case OpAdd: acc = first ? b : uint32_t(a + b); break;
        case OpMinU: acc = first ? b : (a < b ? a : b); break;
        case OpMaxU: acc = first ? b : (a > b ? a : b); break;
        case OpMinS: acc = first ? b : ((int)a < (int)b ? a : b); break;
        case OpMaxS: acc = first ? b : ((int)a > (int)b ? a : b); break;
        case OpAnd: acc = first ? b : (a & b); break;
        case OpOr: acc = first ? b : (a | b); break;
        case OpXor: acc = first ? b : (a ^ b); break;
        default: break;
      }
      first = false;
    }
    if (g.op == OpBallot) acc |= uint64_t(g.arrived) << 32;
    for (int l = 0; l < 32; ++l) if (g.arrived >> l & 1) {
      Thread* t = &base[l];
      if (g.op == OpShfl) t->res = (g.arrived >> t->arg & 1) ? base[t->arg].val : 0xFBFBFBFBFBFBFBFBull;  // undefined on a GPU
      else if (g.op == OpMatchAny) { t->res = 0; for (int j = 0; j < 32; ++j) if ((g.arrived >> j & 1) && base[j].val == t->val) t->res |= 1u << j; }
      else t->res = acc;
    }
    for (int l = 0; l < 32; ++l) if ((g.arrived >> l & 1) && &base[l] != me) make_ready(&base[l]);
  }
  COH_RT Thread* need_thread(Op op, const char* file, int line) {
    if (!cur->thr) throw error(std::string(op_name(op)) + " outside a kernel, " + file + ":" + std::to_string(line));
    return cur->thr;
  }
  COH_RT void run_one(Fiber* self) {  // body of one CUDA thread
    Thread* t;
    { IgnoreGuard ig; t = &thr[order[next++]]; t->fib = self; t->st = Running; self->thr = t; threadIdx = t->tid; }
    COH_ACQ(&start_sync);
    try { job->fn(job->ctx); }
    catch (const std::exception& e) { IgnoreGuard ig; if (!failed) { failed = true; snprintf(errbuf, sizeof errbuf, "exception in %s: %s", where(t), e.what()); } }
    COH_REL(&end_sync);
    IgnoreGuard ig;
    t->st = Done; ++done; self->thr = nullptr;
    if (failed) go(&main_f);
    if (nbar) {
      if (!opt.exited_ok)
        fail("divergent barrier: %s returned while others of its block wait at %s at %s:%d", where(t), op_name(bar_op), bar_file, bar_line);
      if (nbar + done == n) finish_barrier(nullptr);
    }
    Warp& w = warp[t->lin / 32]; w.alive &= ~(1u << (t->lin & 31));
    for (int k = 0; k < w.ng;) if (w.g[k].arrived == (w.g[k].mask & w.alive)) finish_group(w, k, nullptr); else ++k;
  }
  COH_RT void run_block(const Job& j, uint64_t b) {
    IgnoreGuard ig;
    job = &j; n = j.b.x * j.b.y * j.b.z; next = done = nbar = nready = head = 0; bar_gen = 0;
    blockIdx = uint3{unsigned(b % j.g.x), unsigned(b / j.g.x % j.g.y), unsigned(b / j.g.x / j.g.y)};
    blockDim = j.b; gridDim = j.g;
    rng = (opt.seed + 0x9E3779B97F4A7C15ull * (b + 1)) | 1; for (int i = 0; i < 4; ++i) rnd();
    for (unsigned i = 0; i < n; ++i) {
      thr[i].tid = uint3{i % j.b.x, i / j.b.x % j.b.y, i / j.b.x / j.b.y};
      thr[i].lin = i; thr[i].st = Fresh; thr[i].op = OpNone;
      order[i] = uint16_t(opt.order == Reverse ? n - 1 - i : i);
    }
    if (opt.order == Random) for (unsigned i = n; i > 1; --i) { unsigned k = unsigned(rnd() % i); uint16_t t = order[k]; order[k] = order[i - 1]; order[i - 1] = t; }
    open_shared(j.smem);
    for (unsigned i = 0; i < (n + 31) / 32; ++i) {
      warp[i].ng = 0; warp[i].rot = 0; warp[i].sync = syncs + 16 + i * 512; unsigned left = n - i * 32; warp[i].alive = left >= 32 ? ~0u : (1u << left) - 1;
    }
#ifdef COH_TSAN  // One TSan identity per CUDA thread of a block, made by the main context so that no thread precedes another. Two sets take
    // turns: consecutive blocks stay unordered, so races between blocks show (blocks an even number apart share identities).
    while (nall < 2 * n) { Fiber* f = new Fiber; acquire(f); all[nall++] = f; }
    for (nidle = 0, turn ^= 1; nidle < n; ++nidle) idle[nidle] = all[turn * n + nidle];
#endif
    COH_REL(&start_sync);
    go(pick());
    if (!failed && done != n) {
      failed = true;
      snprintf(errbuf, sizeof errbuf, "deadlock in block (%u,%u,%u)", blockIdx.x, blockIdx.y, blockIdx.z);
    }
    if (dyn) free(dyn);
    dyn = nullptr;
    uint64_t tot = used + j.smem, m = stats.smem_max.load();
    while (tot > m && !stats.smem_max.compare_exchange_weak(m, tot)) {}
    if (failed) for (nidle = 0; nidle < nall; ++nidle) prime(idle[nidle] = all[nidle]);  // abandon the block's stacks
  }
  // -- shared memory
  COH_RT void open_shared(size_t smem) {
#ifdef COH_TSAN
    free(arena); free(syncs); arena = syncs = nullptr;  // fresh shadow and sync objects for every block
    syncs = (char*)malloc(16 + 32 * 512);
#endif
    if (!arena && posix_memalign((void**)&arena, 128, kArena)) throw error("no memory");
    used = 0; nslots = 0;
#ifdef COH_ASAN
    __asan_poison_memory_region(arena, kArena);
#endif
    if (smem) { if (posix_memalign((void**)&dyn, 128, smem)) throw error("no memory"); memset(dyn, opt.fill, smem); }  // exact size: ASan sees its end
  }
  COH_RT void* slot(const void* key, size_t size, size_t align) {
    for (int i = 0; i < nslots; ++i) if (slots[i].key == key) return slots[i].p;
    IgnoreGuard ig;
    size_t rz = 0;
#ifdef COH_ASAN
    rz = 64;
#endif
    size_t at = (used + rz + align - 1) / align * align;
    if (nslots == 64 || at + size + rz > kArena) fail("more than %zu bytes of GPU_SHARED memory", kArena);
    char* p = arena + at; used = at + size;
#ifdef COH_ASAN
    __asan_unpoison_memory_region(p, size);
#endif
    memset(p, opt.fill, size);
    slots[nslots++] = Slot{key, p};
    return p;
  }
};
COH_RT inline void fiber_main() {
#ifdef COH_ASAN
  __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
#endif
  Worker* w = tl; Fiber* self = w->cur;
  for (;;) {
    w->run_one(self);
    Fiber* nx;
#ifdef COH_TSAN
    nx = w->pick();  // one TSan identity per CUDA thread: never reuse within the block
#else
    w->idle[w->nidle++] = self;
    nx = w->pick();
#endif
    if (nx != self) w->go(nx);
  }
}
#ifdef COH_ASAN
inline void asan_note(const char*) {
  if (tl && tl->cur->thr) fprintf(stderr, "cuda_on_host: error in %s\n", tl->where(tl->cur->thr));
}
#endif
inline void run(const Job& j) {
  if (tl && tl->cur->thr) throw error("kernel launched from a kernel: not supported");
  uint64_t nt = uint64_t(j.b.x) * j.b.y * j.b.z, nb = uint64_t(j.g.x) * j.g.y * j.g.z;
  if (!nt || nt > 1024 || j.b.z > 64 || !nb || j.g.x > 0x7fffffffu || j.g.y > 65535 || j.g.z > 65535 || j.smem > 227 * 1024)
    throw error("invalid launch configuration: grid " + std::to_string(j.g.x) + "x" + std::to_string(j.g.y) + "x" + std::to_string(j.g.z) +
                ", block " + std::to_string(j.b.x) + "x" + std::to_string(j.b.y) + "x" + std::to_string(j.b.z) + ", shared " + std::to_string(j.smem));
#ifdef COH_ASAN
  __asan_set_error_report_callback(&asan_note);
#endif
  Options o = options();
#ifdef COH_ONE_WORKER
  o.workers = 1;
#endif
  std::atomic<uint64_t> next{0}; std::mutex mu; std::string err; std::atomic<bool> stop{false};
  auto body = [&](Worker& w) {
    w.opt = o; tl = &w; w.n_switch = w.n_bar_done = w.n_warp = 0; w.failed = false;
#ifdef COH_TSAN
    w.main_f.tsan = __tsan_get_current_fiber();
#endif
    uint64_t done = 0;
    for (uint64_t b; !stop && (b = next++) < nb; ++done) {
      uint64_t r = o.order == Forward ? b : o.order == Reverse ? nb - 1 - b : (b + o.seed * 7919) % nb;
      w.run_block(j, r);
      if (w.failed) { std::lock_guard<std::mutex> g(mu); if (!stop) err = w.errbuf + w.census(); stop = true; }
    }
    COH_ACQ(&w.end_sync);
    stats.threads += done * nt; stats.switches += w.n_switch; stats.barriers += w.n_bar_done; stats.warp_ops += w.n_warp;
  };
  static thread_local Worker* own = new Worker;  // kept: its fiber stacks are reused by later launches
  std::vector<std::thread> ts;
  for (int i = 1; i < o.workers && uint64_t(i) < nb; ++i) ts.emplace_back([&] { Worker* w = new Worker; body(*w); delete w; tl = nullptr; });
  if (own->opt.stack != o.stack) own->drop_fibers();
  body(*own);
  tl = nullptr;
  for (auto& t : ts) t.join();
  if (stop) throw error("cuda_on_host: " + err);
}
template <class T> COH_RT inline T& shared(const void* key) { return *reinterpret_cast<T*>(tl->slot(key, sizeof(T), alignof(T) < 16 ? 16 : alignof(T))); }
COH_RT inline void maybe_yield() { if (__builtin_expect(tl && tl->opt.yield_percent, 0)) { IgnoreGuard ig; tl->yield(); } }
COH_RT inline char* dynamic_shared() { return tl->dyn; }
template <class T> struct ident { typedef T type; };
template <class T> COH_RT uint64_t pack(T v) { static_assert(sizeof(T) <= 8, "shuffle of up to 8 bytes"); uint64_t u = 0; memcpy(&u, &v, sizeof v); return u; }
template <class T> COH_RT T unpack(uint64_t u) { T v; memcpy((void*)&v, &u, sizeof v); return v; }
COH_RT inline int lane() { return int(tl->cur->thr->lin & 31); }
template <class T, class F> T cas_loop(T* p, F f) {  // atomic read-modify-write of any 2-, 4- or 8-byte type
  typedef typename std::conditional<sizeof(T) == 2, uint16_t, typename std::conditional<sizeof(T) == 4, uint32_t, uint64_t>::type>::type U;
  maybe_yield();
  U o = __atomic_load_n((U*)p, __ATOMIC_RELAXED), w; T ov;
  do { memcpy((void*)&ov, &o, sizeof o); T nv = f(ov); memcpy(&w, (void*)&nv, sizeof w); }
  while (!__atomic_compare_exchange_n((U*)p, &o, w, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
  return ov;
}
}  // namespace coh

namespace gpu {
template <class... P, class... A>
void launch(void (*k)(P...), dim3 g, dim3 b, size_t smem, cudaStream_t, A&&... a) {
  struct Ctx { void (*k)(P...); std::tuple<P...> t; } c{k, std::tuple<P...>(static_cast<P>(std::forward<A>(a))...)};
  coh::run(coh::Job{g, b, smem, [](const void* p) { const Ctx* q = static_cast<const Ctx*>(p); std::apply(q->k, q->t); }, &c});
}
}  // namespace gpu
#define GPU_SHARED(T, name, ...)                 \
  static const char name##_coh_key = 0;          \
  typedef T name##_coh_t __VA_ARGS__;            \
  name##_coh_t& name = coh::shared<name##_coh_t>(&name##_coh_key)

// ---- device functions -----------------------------------------------------------------------------
#define COH_AT const char *file = __builtin_FILE(), int line = __builtin_LINE()
inline void __syncthreads(COH_AT) { coh::tl->barrier(coh::BarSync, 0, file, line); }
inline int __syncthreads_count(int p, COH_AT) { return (int)coh::tl->barrier(coh::BarCount, p, file, line); }
inline int __syncthreads_and(int p, COH_AT) { return (int)coh::tl->barrier(coh::BarAnd, p, file, line); }
inline int __syncthreads_or(int p, COH_AT) { return (int)coh::tl->barrier(coh::BarOr, p, file, line); }
inline void __syncwarp(unsigned m = ~0u, COH_AT) { coh::tl->collective(coh::OpSync, m, 0, 0, file, line); }
inline unsigned __ballot_sync(unsigned m, int p, COH_AT) { return (unsigned)coh::tl->collective(coh::OpBallot, m, p != 0, 0, file, line); }
inline int __any_sync(unsigned m, int p, COH_AT) { return (unsigned)coh::tl->collective(coh::OpBallot, m, p != 0, 0, file, line) != 0; }
inline int __all_sync(unsigned m, int p, COH_AT) { uint64_t r = coh::tl->collective(coh::OpBallot, m, p != 0, 0, file, line); return (unsigned)r == (unsigned)(r >> 32); }
template <class T> unsigned __match_any_sync(unsigned m, T v, COH_AT) { return (unsigned)coh::tl->collective(coh::OpMatchAny, m, coh::pack(v), 0, file, line); }
template <class T> T coh_shfl(unsigned m, T v, int src, const char* f, int l) { return coh::unpack<T>(coh::tl->collective(coh::OpShfl, m, coh::pack(v), src, f, l)); }
template <class T> T __shfl_sync(unsigned m, T v, int src, int w = 32, COH_AT) { int l = coh::lane(); return coh_shfl(m, v, (l & ~(w - 1)) | (src & (w - 1)), file, line); }
template <class T> T __shfl_up_sync(unsigned m, T v, unsigned d, int w = 32, COH_AT) { int l = coh::lane(), s = l - (int)d; return coh_shfl(m, v, s < (l & ~(w - 1)) ? l : s, file, line); }
template <class T> T __shfl_down_sync(unsigned m, T v, unsigned d, int w = 32, COH_AT) { int l = coh::lane(), s = l + (int)d; return coh_shfl(m, v, s > (l | (w - 1)) ? l : s, file, line); }
template <class T> T __shfl_xor_sync(unsigned m, T v, int x, int w = 32, COH_AT) { int l = coh::lane(), s = l ^ x; return coh_shfl(m, v, s > (l | (w - 1)) ? l : s, file, line); }
#define COH_RED(N, U, S)                                                                                                     \
  inline unsigned __reduce_##N##_sync(unsigned m, unsigned v, COH_AT) { return (unsigned)coh::tl->collective(coh::U, m, v, 0, file, line); } \
  inline int __reduce_##N##_sync(unsigned m, int v, COH_AT) { return (int)(unsigned)coh::tl->collective(coh::S, m, (unsigned)v, 0, file, line); }
COH_RED(add, OpAdd, OpAdd) COH_RED(min, OpMinU, OpMinS) COH_RED(max, OpMaxU, OpMaxS)
unsigned __activemask() = delete;  // no meaning without lock-step: pass masks explicitly
#ifdef COH_TSAN
inline char coh_fence;  // over-approximation: every fence synchronises with every other
inline void __threadfence() { COH_REL(&coh_fence); COH_ACQ(&coh_fence); }
#else
inline void __threadfence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
#endif
inline void __threadfence_block() { __threadfence(); }
inline void __threadfence_system() { __threadfence(); }
inline void __nanosleep(unsigned) { coh::maybe_yield(); }

#define COH_T template <class T>
#define COH_TI typename coh::ident<T>::type
COH_T T atomicAdd(T* p, COH_TI v) {
  if constexpr (std::is_integral<T>::value) { coh::maybe_yield(); return __atomic_fetch_add(p, v, __ATOMIC_RELAXED); }
  else return coh::cas_loop(p, [v](T o) { return T(o + v); });
}
COH_T T atomicSub(T* p, COH_TI v) { coh::maybe_yield(); return __atomic_fetch_sub(p, v, __ATOMIC_RELAXED); }
COH_T T atomicAnd(T* p, COH_TI v) { coh::maybe_yield(); return __atomic_fetch_and(p, v, __ATOMIC_RELAXED); }
COH_T T atomicOr(T* p, COH_TI v) { coh::maybe_yield(); return __atomic_fetch_or(p, v, __ATOMIC_RELAXED); }
COH_T T atomicXor(T* p, COH_TI v) { coh::maybe_yield(); return __atomic_fetch_xor(p, v, __ATOMIC_RELAXED); }
COH_T T atomicMax(T* p, COH_TI v) { static_assert(std::is_integral<T>::value, "integers only, as in CUDA"); return coh::cas_loop(p, [v](T o) { return o < v ? v : o; }); }
COH_T T atomicMin(T* p, COH_TI v) { static_assert(std::is_integral<T>::value, "integers only, as in CUDA"); return coh::cas_loop(p, [v](T o) { return v < o ? v : o; }); }
COH_T T atomicExch(T* p, COH_TI v) { return coh::cas_loop(p, [v](T) { return v; }); }
COH_T T atomicCAS(T* p, COH_TI c, COH_TI v) { coh::maybe_yield(); T e = c; __atomic_compare_exchange_n(p, &e, v, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED); return e; }
COH_T T __ldg(const T* p) { return *p; }

inline int __popc(unsigned v) { return __builtin_popcount(v); }
inline int __popcll(unsigned long long v) { return __builtin_popcountll(v); }
inline int __clz(int v) { return v ? __builtin_clz((unsigned)v) : 32; }
inline int __clzll(long long v) { return v ? __builtin_clzll((unsigned long long)v) : 64; }
inline int __ffs(int v) { return __builtin_ffs(v); }
inline int __ffsll(long long v) { return __builtin_ffsll(v); }
inline float __int_as_float(int v) { float f; memcpy(&f, &v, 4); return f; }
inline int __float_as_int(float f) { int v; memcpy(&v, &f, 4); return v; }
inline unsigned __float_as_uint(float f) { unsigned v; memcpy(&v, &f, 4); return v; }
inline float __uint_as_float(unsigned v) { float f; memcpy(&f, &v, 4); return f; }
// separately rounded operations: as on a GPU, never fused (compile with -ffp-contract=off)
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline float __expf(float x) { return expf(x); }  // full precision here, approximate on a GPU
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
#define COH_MM(T) inline T min(T a, T b) { return b < a ? b : a; } inline T max(T a, T b) { return a < b ? b : a; }
COH_MM(int) COH_MM(unsigned) COH_MM(long) COH_MM(unsigned long) COH_MM(long long) COH_MM(unsigned long long)
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline double max(double a, double b) { return fmax(a, b); }

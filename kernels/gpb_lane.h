//  gpb_lane - what host and device share of a persistent kernel: its ring in memory
//
//  A package with `persistent = true` gives one function, HANDLER (name), that turns one message
//  into one answer. libgpb puts the prelude and this text in front of it, and the loop
//  (gpb_dispatch.h) behind it. The same text is OpenCL C 2.0, CUDA C++ and C11: the last is what the
//  host includes, and how the tests run the loop as a thread, where a sanitizer sees every access.
//
//  One work-group serves one lane. Its first work-item waits for the slot that is next, all of them
//  call the handler, and the first one publishes the answer. Nothing is shared between the two
//  sides but each slot's two sequences, the lane's command, and what the device says of itself:
//
//      host                                          device
//      writes the input, the request's fields
//      request.sequence = index + 1   -- release --> acquire: sees the input
//                                                    calls the handler
//                                                    writes the output, the answer's fields
//      acquire: sees the output      <-- release --  answer.sequence = index + 1
//
//  index counts messages, 64 bits, and its slot is index modulo the slots. A sequence is not
//  cleared: what stands there from the lap before is another number. The host publishes no more
//  messages than there are slots without having read their answers, so neither side looks at a
//  counter of the other's.
//
//  A lane in memory; every part starts at a multiple of 128 bytes, two cache lines, which the
//  adjacent-line prefetcher fetches in pairs:
//
//      control   0  command and geometry: the host writes, before the launch or (command) at any time
//              128  heartbeat, head: the device writes
//      slot n    0  request: sequence, sizes, places    32  input, where it fits: slot_size bytes
//                   answer:  sequence, size, status, ticks   32  output, where it fits
//
//  The first bytes of a message stand in the cache line of its sequence: a small one is one read.
//  Larger ones stand in the heap, and the slot says where, in units of 128 bytes from its start.
//
//  Copyright (c) the libgpb authors. SPDX-License-Identifier: MPL-2.0

#ifndef GPB_LANE_H_INCLUDED
#define GPB_LANE_H_INCLUDED

//  ---------------------------------------------------------------------------------------------------------
//  Three languages

//  GPB_LOAD_ACQUIRE, GPB_STORE_RELEASE: 64 bits, seen by host and device in this order. GPB_LOAD,
//  GPB_STORE: 32 or 64 bits in one piece, in no order with others. GPB_RELAX (polls): between two
//  polls that found nothing. GPB_TICKS (): the device's clock, 0 where there is none to be read.

#if defined(__CUDACC__) || defined(__CUDACC_RTC__)

//  System scope, and the PTX memory model's own words (ld.acquire.sys and so on).
#define GPB_SYSTEM __NV_THREAD_SCOPE_SYSTEM
#define GPB_LOAD_ACQUIRE(address) __nv_atomic_load_n ((address), __NV_ATOMIC_ACQUIRE, GPB_SYSTEM)
#define GPB_STORE_RELEASE(address, value)                                                          \
    __nv_atomic_store_n ((address), (value), __NV_ATOMIC_RELEASE, GPB_SYSTEM)
#define GPB_LOAD(address) gpb_load (address)
#define GPB_STORE(address, value) gpb_store ((address), (value))
#define GPB_RELAX(polls) __nanosleep ((polls) < 64 ? 20 : 200)

//  The compiler's own functions take no pointer to volatile.
FUNCTION uint
gpb_load (volatile uint *address)
{
    return __nv_atomic_load_n ((uint *) address, __NV_ATOMIC_RELAXED, GPB_SYSTEM);
}

FUNCTION ulong
gpb_load (volatile ulong *address)
{
    return __nv_atomic_load_n ((ulong *) address, __NV_ATOMIC_RELAXED, GPB_SYSTEM);
}

FUNCTION void
gpb_store (volatile uint *address, uint value)
{
    __nv_atomic_store_n ((uint *) address, value, __NV_ATOMIC_RELAXED, GPB_SYSTEM);
}

FUNCTION void
gpb_store (volatile ulong *address, ulong value)
{
    __nv_atomic_store_n ((ulong *) address, value, __NV_ATOMIC_RELAXED, GPB_SYSTEM);
}

FUNCTION ulong
gpb_ticks (void)
{
    ulong ticks;
    asm volatile ("mov.u64 %0, %%globaltimer;" : "=l"(ticks));
    return ticks;
}
#define GPB_TICKS() gpb_ticks ()

//  What all work-items have written is in memory before the first one publishes it.
#define GPB_FENCE() __threadfence_system ()

#elif defined(__OPENCL_C_VERSION__) || defined(__OPENCL_VERSION__)

#if defined(__clang__)
//  What the standard's functions become (PoCL 3.1 has no generic address space, and refuses these).
//  Scope 4 is memory_scope_all_svm_devices.
#define GPB_LOAD_ACQUIRE(address)                                                                  \
    __opencl_atomic_load ((volatile __global atomic_ulong *) (address), __ATOMIC_ACQUIRE, 4)
#define GPB_STORE_RELEASE(address, value)                                                          \
    __opencl_atomic_store ((volatile __global atomic_ulong *) (address), (value), __ATOMIC_RELEASE, 4)
#else
#define GPB_LOAD_ACQUIRE(address)                                                                  \
    atomic_load_explicit ((volatile __global atomic_ulong *) (address), memory_order_acquire,      \
                          memory_scope_all_svm_devices)
#define GPB_STORE_RELEASE(address, value)                                                          \
    atomic_store_explicit ((volatile __global atomic_ulong *) (address), (value),                  \
                           memory_order_release, memory_scope_all_svm_devices)
#endif
//  An aligned word is one access on whatever has fine-grain SVM.
#define GPB_LOAD(address) (*(address))
#define GPB_STORE(address, value) (*(address) = (value))

//  A CPU device spins on a processor that others want too: after some polls it offers that to them.
//  Nothing of libc's is to be had in a kernel, but the system call is.
#if defined(__clang__) && defined(__x86_64__)
#define GPB_CPU_SPIN 128
FUNCTION void
gpb_relax (uint polls)
{
    if (polls < GPB_CPU_SPIN)
        __asm__ volatile ("pause");
    else {
        long result;
        __asm__ volatile ("syscall" : "=a"(result) : "a"(24L) : "rcx", "r11", "memory");
    }
}
FUNCTION ulong
gpb_ticks (void)
{
    uint low, high;
    __asm__ volatile ("rdtsc" : "=a"(low), "=d"(high));
    return (ulong) high << 32 | low;
}
#define GPB_RELAX(polls) gpb_relax (polls)
#define GPB_TICKS() gpb_ticks ()
#else
#define GPB_RELAX(polls)
#define GPB_TICKS() 0
#endif
#define GPB_FENCE()

#else

#define GPB_LOAD_ACQUIRE(address) __atomic_load_n ((address), __ATOMIC_ACQUIRE)
#define GPB_STORE_RELEASE(address, value) __atomic_store_n ((address), (value), __ATOMIC_RELEASE)
#define GPB_LOAD(address) __atomic_load_n ((address), __ATOMIC_RELAXED)
#define GPB_STORE(address, value) __atomic_store_n ((address), (value), __ATOMIC_RELAXED)
#define GPB_FENCE()
//  Who runs the loop as a thread has said how it waits, and its clock.
#ifndef GPB_RELAX
#define GPB_RELAX(polls)
#define GPB_TICKS() 0
#endif

#endif

//  ---------------------------------------------------------------------------------------------------------
//  The lane in memory

#define GPB_LANE_UNIT 128    //  bytes: what everything is a multiple of

//  gpb_lane_control_t.command
#define GPB_LANE_RUN 0ul
#define GPB_LANE_PARK 1ul    //  return as soon as no message waits

//  gpb_lane_request_t.flags
#define GPB_LANE_CANCELLED 1u    //  by the host, also later: a handler that has not begun does not

//  gpb_lane_answer_t.status
#define GPB_LANE_OK 0u
#define GPB_LANE_SKIPPED 1u     //  it was cancelled
#define GPB_LANE_OVERFLOW 2u    //  the handler said that it wrote more than there was room for

typedef struct {
    ulong command;
    uint slots;           //  a power of two
    uint request_size;    //  bytes of a request with its input: a multiple of the unit
    uint answer_size;     //  bytes of an answer with its output
    ulong requests;       //  where they stand one behind the other, in bytes from the memory's start
    ulong answers;
    ulong heap;
    ulong state;
    ulong idle_ticks;    //  without a message, and it parks by itself; 0: never
    uint idle_polls;     //  the same where the device has no clock
    uint padding [15];

    ulong heartbeat;    //  changes while it waits, and with every message
    ulong head;         //  the index that it serves next, or is serving
    ulong more_padding [14];
} gpb_lane_control_t;

typedef struct {
    ulong sequence;
    uint size;        //  bytes of the input
    uint capacity;    //  bytes that the output may have
    uint input;       //  its place in the heap, in units; 0: behind this
    uint output;      //  likewise: behind the answer
    uint flags;
    uint padding;
} gpb_lane_request_t;

typedef struct {
    ulong sequence;
    uint size;    //  bytes of the output
    uint status;
    ulong taken_ticks;    //  when the handler was called; 0: the device has no clock
    ulong done_ticks;     //  when it had returned
} gpb_lane_answer_t;

#define GPB_HANDLER_NAME(name) gpb_handler_##name
//  The function of a package: in_size bytes at in become at most *out_size bytes at out, and
//  *out_size says how many. Every work-item of the group calls it. state is the lane's.
#define HANDLER(name)                                                                              \
    FUNCTION void GPB_HANDLER_NAME (name)

#define GPB_LOAD_COMMAND(control) GPB_LOAD ((volatile GLOBAL ulong *) &(control)->command)
#define GPB_STORE_HEARTBEAT(control, value)                                                        \
    GPB_STORE ((volatile GLOBAL ulong *) &(control)->heartbeat, (value))

#endif

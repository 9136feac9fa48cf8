// What a person asks for, checked; ids and tokens of jobs.  Pure functions.
#ifndef CSSP_SERVER_COORDINATOR_JOB_SPEC_H_
#define CSSP_SERVER_COORDINATOR_JOB_SPEC_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "common/ps/slab_layout.h"
#include "proto/control.pb.h"

namespace cssp {

inline constexpr int kMaxWorkers = 4096;
inline constexpr int kMaxStaleness = 1000;

// InvalidArgument (one line that names the field and the known values) or
// Unimplemented.  The solver's rule, policy and regulariser are tried, not
// listed again here.
absl::Status ValidateJobSpec(const control::JobSpec& spec);

// Workers that may ever train at once.
// InvalidArgument: a checkpoint of other tables (or of none) than the job's.
absl::Status CheckSameTables(const control::JobSpec& spec,
                             const control::JobSpec& before);
int MaxWorkers(const control::JobSpec& spec);

// Whether workers may join, and come back, while others train.
bool MayJoinLater(const control::JobSpec& spec);

// The solver wants files of this clock.
bool IsSnapshot(const control::JobSpec& spec, int64_t clock);

// As a job runs it: defaults of max_ahead and staleness_lr are written out, so
// that they are recorded; a job of tables gets a solver that never stops and keeps no
// snapshots, so that clocks and membership are those of any job.
control::JobSpec NormalisedSpec(control::JobSpec spec);

// "CIFAR10_quick" and 7 -> "cifar10-quick-7": 1..63 of a-z, 0-9 and -.
std::string MakeJobId(absl::string_view name, uint32_t number);

// 256 random bits as hexadecimal text, from the kernel.
std::string MakeToken();
// Takes the same time wherever they differ.
bool TokensEqual(absl::string_view a, absl::string_view b);
// A seed where the spec names none: positive, 31 bits.
int64_t DrawSeed();

// Chunk size where the spec names none: equal chunks, two or more for every
// server, as near to 512 KiB as its share allows; whole blocks, at least 64 KiB.
int64_t DefaultChunkBytes(int64_t model_bytes, int num_servers);

// In words, the first blob in which two layouts differ; `a` and `b` name them
// ("worker 0").  Empty when they are equal.
std::string DescribeDifference(const ps::SlabLayout& first,
                               const ps::SlabLayout& second,
                               absl::string_view a, absl::string_view b);

// A copy of the spec for lists and events: without the texts of the nets.
control::JobSpec WithoutNets(const control::JobSpec& spec);

// PENDING, RUNNING and FINISHING are not.
bool IsTerminal(control::JobState state);
// "running" for JOB_RUNNING.
std::string StateName(control::JobState state);

}  // namespace cssp

#endif  // CSSP_SERVER_COORDINATOR_JOB_SPEC_H_

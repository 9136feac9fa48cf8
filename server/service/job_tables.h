// A job's SSP tables on this server: what the wire and the ticks say to them.
#ifndef CSSP_SERVER_SERVICE_JOB_TABLES_H_
#define CSSP_SERVER_SERVICE_JOB_TABLES_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/ps/messages.h"
#include "proto/checkpoint.pb.h"
#include "proto/control.pb.h"
#include "server/shard/param_table.h"
#include "server/storage/param_store.h"

namespace cssp {

// Thread-confined: made on the thread that opens the job, then the shard
// thread's.  A job of nets has none.  Invariant: a cut of clock k holds every
// increment of clocks < k and no other.  For that an increment of clock k or
// later is refused (kTooFarAhead: it comes again) until the cut has been made.
class JobTables : private TableOutput {
 public:
  // A body to send: the header names table, clock and the echoed sequence.
  using Send =
      std::function<void(PeerId, const ps::MessageHeader&, std::string body)>;

  struct Hooks {
    Send send;
    // The first cut after a clock; kClockInfinity: none.
    std::function<int64_t(int64_t clock)> next_cut;
    std::function<void(int64_t clock, std::shared_ptr<const TablesCut>)> on_cut;
  };

  static absl::StatusOr<std::unique_ptr<JobTables>> Create(
      const control::OpenShardRequest& request, Hooks hooks);
  // From a checkpoint, before any input.  `goes_on`: this server's own part of
  // the same run, with what each worker has sent; else the sums alone, whichever
  // servers held them.
  absl::Status Restore(const Manifest& manifest, const ParamStore& store,
                       const std::string& store_directory, bool goes_on);

  // kNone: the payload may come (its length can be true).
  ps::Reason Check(const ps::MessageHeader& header) const;
  // kNone: an increment that can be; it is to be given to Inc.
  ps::Reason Decode(const ps::MessageHeader& header,
                    absl::Span<const uint8_t> body, ps::TableInc* inc) const;
  // What to answer an increment with; kNone and kDuplicate: it is held.
  ps::Reason Inc(const ps::TableInc& inc);
  // kNone: rows come by Send, now or later.
  ps::Reason OnGet(PeerId peer, const ps::MessageHeader& header,
                   absl::Span<const uint8_t> body);

  // InvalidArgument: another number of tables than the job's.
  absl::Status Tick(const control::Tick& tick);
  void Remove(int rank);
  void Detach(PeerId peer);

  bool empty() const { return tables_.empty(); }
  // The highest clock of which an increment or a tick has come.
  int64_t opened() const { return opened_; }
  ParamTable& table(int index) { return tables_[index]; }
  int64_t parked() const;
  int64_t bytes() const;

 private:
  explicit JobTables(Hooks hooks) : hooks_(std::move(hooks)) {}
  void SendRows(PeerId peer, const ps::TableRows& rows) override;
  absl::Status RestoreRow(int table, int64_t row,
                          absl::Span<const float> values);
  absl::Status RestoreLanes(const TablesRecord& part);
  // Makes the cuts that have become whole.
  void Advance();

  const Hooks hooks_;
  std::vector<ParamTable> tables_;
  int servers_ = 1;
  int self_ = 0;
  int64_t row_ = 0;      // every increment of earlier clocks is in
  int64_t opened_ = -1;
};

}  // namespace cssp

#endif  // CSSP_SERVER_SERVICE_JOB_TABLES_H_

// A job's SSP tables on this server: what the wire and the ticks say to them.
#ifndef CSSP_SERVER_SERVICE_JOB_TABLES_H_
#define CSSP_SERVER_SERVICE_JOB_TABLES_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/ps/messages.h"
#include "proto/control.pb.h"
#include "server/shard/param_table.h"

namespace cssp {

// Thread-confined: made on the thread that opens the job, then the shard
// thread's.  A job of nets has none.
class JobTables : private TableOutput {
 public:
  // A body to send: the header names table, clock and the echoed sequence.
  using Send =
      std::function<void(PeerId, const ps::MessageHeader&, std::string body)>;

  static absl::StatusOr<std::unique_ptr<JobTables>> Create(
      const control::OpenShardRequest& request, Send send);

  // kNone: the payload may come (its length can be true).
  ps::Reason Check(const ps::MessageHeader& header) const;
  // What to answer an increment with; kNone and kDuplicate: it is held.
  ps::Reason OnInc(const ps::MessageHeader& header,
                   absl::Span<const uint8_t> body);
  // kNone: rows come by Send, now or later.
  ps::Reason OnGet(PeerId peer, const ps::MessageHeader& header,
                   absl::Span<const uint8_t> body);

  // InvalidArgument: another number of tables than the job's.
  absl::Status Tick(const control::Tick& tick);
  void Remove(int rank);
  void Detach(PeerId peer);

  bool empty() const { return tables_.empty(); }
  int64_t parked() const;
  int64_t bytes() const;

 private:
  explicit JobTables(Send send) : send_(std::move(send)) {}
  void SendRows(PeerId peer, const ps::TableRows& rows) override;

  const Send send_;
  std::vector<ParamTable> tables_;
};

}  // namespace cssp

#endif  // CSSP_SERVER_SERVICE_JOB_TABLES_H_

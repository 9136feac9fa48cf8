#include "common/ps/table_client.h"

#include <utility>

namespace cssp::ps {
namespace {

void Add(absl::Span<const float> from, std::vector<float>* to) {
  for (size_t i = 0; i < from.size(); ++i) (*to)[i] += from[i];
}

}  // namespace

TableClient::TableClient(const Options& options)
    : options_(options), logs_(options.servers) {}

const std::vector<float>* TableClient::Get(int64_t row) {
  const auto it = cache_.find(row);
  if (it == cache_.end() ||
      it->second.row_clock < clock_ - options_.staleness) {
    return nullptr;
  }
  return &it->second.values;
}

TableGet TableClient::Fetch(int64_t row) {
  TableGet get;
  get.table = options_.table;
  get.rank = options_.rank;
  get.clock = clock_;
  get.request = ++requests_;
  get.rows = {row};
  return get;
}

void TableClient::Inc(int64_t row, int element, float delta) {
  std::vector<float>& open = open_[row];
  open.resize(options_.width);
  open[element] += delta;
  const auto it = cache_.find(row);
  if (it != cache_.end()) it->second.values[element] += delta;
}

std::vector<TableClient::Outgoing> TableClient::Tick() {
  std::vector<Outgoing> out(options_.servers);
  for (auto& [row, delta] : open_) {
    TableInc& inc = out[ServerOf(row)].inc;
    inc.rows.push_back(row);
    inc.deltas.insert(inc.deltas.end(), delta.begin(), delta.end());
  }
  open_.clear();
  std::vector<Outgoing> sent;
  for (int server = 0; server < options_.servers; ++server) {
    TableInc& inc = out[server].inc;
    if (inc.rows.empty()) continue;
    inc.table = options_.table;
    inc.rank = options_.rank;
    inc.clock = clock_;
    inc.sequence = ++logs_[server].last;
    logs_[server].unseen.push_back(inc);
    sent.push_back({server, std::move(inc)});
  }
  ++clock_;
  return sent;
}

void TableClient::OnRows(const TableRows& rows) {
  const int width = options_.width;
  if (rows.server < 0 || rows.server >= options_.servers ||
      rows.values.size() != rows.rows.size() * width) {
    return;
  }
  Log& log = logs_[rows.server];
  // Rows that say less than what is held, in either respect, come late.  The
  // log keeps what any row younger than `seen` may lack, so older are refused.
  if (rows.applied < log.seen) return;
  log.seen = rows.applied;
  while (!log.unseen.empty() && log.unseen.front().sequence <= log.seen) {
    log.unseen.pop_front();
  }
  for (size_t r = 0; r < rows.rows.size(); ++r) {
    const int64_t id = rows.rows[r];
    if (ServerOf(id) != rows.server) continue;
    CachedRow& row = cache_[id];
    if (rows.row_clock < row.row_clock) continue;
    row.row_clock = rows.row_clock;
    row.applied = rows.applied;
    row.values.assign(rows.values.begin() + r * width,
                      rows.values.begin() + (r + 1) * width);
    for (const TableInc& inc : log.unseen) {
      for (size_t i = 0; i < inc.rows.size(); ++i) {
        if (inc.rows[i] != id) continue;
        Add(absl::MakeConstSpan(inc.deltas).subspan(i * width, width),
            &row.values);
      }
    }
    const auto open = open_.find(id);
    if (open != open_.end()) Add(open->second, &row.values);
  }
}

}  // namespace cssp::ps

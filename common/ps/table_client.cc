#include "common/ps/table_client.h"

#include <algorithm>
#include <utility>

namespace cssp::ps {
namespace {

void Add(absl::Span<const float> from, std::vector<float>* to) {
  for (size_t i = 0; i < from.size(); ++i) (*to)[i] += from[i];
}

}  // namespace

TableClient::TableClient(const Options& options)
    : options_(options),
      rows_a_message_(std::max<size_t>(
          1, options.message_bytes / (8 + 4 * size_t(options.width)))),
      clock_(options.start_clock),
      logs_(options.servers) {}

// ---- Reads ------------------------------------------------------------------

const std::vector<float>* TableClient::Get(int64_t row) {
  const auto it = cache_.find(row);
  if (it == cache_.end() || !Fit(it->second)) return nullptr;
  it->second.read_clock = clock_;
  used_.splice(used_.begin(), used_, it->second.used);
  return &it->second.values;
}

std::vector<TableClient::Request> TableClient::Fetch(
    absl::Span<const int64_t> rows) {
  std::vector<int64_t> wanted;
  for (int64_t row : rows) {
    const auto cached = cache_.find(row);
    if (cached != cache_.end() && Fit(cached->second)) continue;
    wanted.push_back(row);
  }
  return MakeRequests(wanted);
}

std::vector<TableClient::Request> TableClient::Refresh() {
  std::vector<int64_t> wanted;
  for (int64_t row : used_) {
    const CachedRow& cached = cache_[row];
    // In the order of use: what comes after was read earlier still.
    if (cached.read_clock >= 0 && cached.read_clock < clock_ - 1) break;
    if (cached.read_clock >= 0 && cached.row_clock < clock_) {
      wanted.push_back(row);
    }
  }
  return MakeRequests(wanted);
}

std::vector<TableClient::Request> TableClient::MakeRequests(
    absl::Span<const int64_t> rows) {
  std::vector<TableGet> gets(options_.servers);
  std::vector<Request> requests;
  const auto finish = [&](int server) {
    TableGet& get = gets[server];
    if (get.rows.empty()) return;
    get.table = options_.table;
    get.rank = options_.rank;
    get.clock = clock_;
    get.request = ++requests_;
    open_requests_[get.request] = {server, clock_};
    logs_[server].floors[get.request] = logs_[server].acknowledged;
    requests.push_back({server, std::exchange(get, TableGet())});
  };
  for (int64_t row : rows) {
    const auto [asked, first] = asked_.try_emplace(row, clock_);
    if (!first && asked->second >= clock_) continue;
    asked->second = clock_;
    const int server = ServerOf(row);
    gets[server].rows.push_back(row);
    if (gets[server].rows.size() >= rows_a_message_) finish(server);
  }
  for (int server = 0; server < options_.servers; ++server) finish(server);
  return requests;
}

void TableClient::OnRows(const TableRows& rows) {
  const auto open = open_requests_.find(rows.request);
  if (open == open_requests_.end() || open->second.server != rows.server ||
      rows.values.size() != rows.rows.size() * options_.width) {
    return;
  }
  for (size_t i = 0; i < rows.rows.size(); ++i) {
    if (ServerOf(rows.rows[i]) == rows.server) Install(rows, i);
    const auto asked = asked_.find(rows.rows[i]);
    if (asked != asked_.end() && asked->second == open->second.clock) {
      asked_.erase(asked);
    }
  }
  open_requests_.erase(open);
  Log& log = logs_[rows.server];
  log.floors.erase(rows.request);
  Prune(log);
  Evict();
}

// The row as the server has it, then what is not in it yet.
void TableClient::Install(const TableRows& rows, size_t index) {
  const int width = options_.width;
  const int64_t id = rows.rows[index];
  const auto [it, made] = cache_.try_emplace(id);
  CachedRow& row = it->second;
  if (made) {
    used_.push_front(id);
    row.used = used_.begin();
  }
  if (rows.row_clock < row.row_clock) return;  // comes late
  row.row_clock = rows.row_clock;
  row.values.assign(rows.values.begin() + index * width,
                    rows.values.begin() + (index + 1) * width);
  for (const LoggedInc& logged : logs_[rows.server].incs) {
    const TableInc& inc = logged.inc;
    if (inc.sequence <= rows.applied) continue;
    const auto at = std::lower_bound(inc.rows.begin(), inc.rows.end(), id);
    if (at == inc.rows.end() || *at != id) continue;
    Add(absl::MakeConstSpan(inc.deltas)
            .subspan((at - inc.rows.begin()) * width, width),
        &row.values);
  }
  const auto open = open_.find(id);
  if (open != open_.end()) Add(open->second, &row.values);
}

void TableClient::Evict() {
  while (static_cast<int64_t>(cache_.size()) > options_.cache_rows) {
    cache_.erase(used_.back());
    used_.pop_back();
  }
}

// ---- Writes -----------------------------------------------------------------

void TableClient::Inc(int64_t row, int element, float delta) {
  std::vector<float>& open = open_[row];
  open.resize(options_.width);
  open[element] += delta;
  const auto it = cache_.find(row);
  if (it != cache_.end()) it->second.values[element] += delta;
}

void TableClient::Inc(int64_t row, absl::Span<const float> delta) {
  std::vector<float>& open = open_[row];
  open.resize(options_.width);
  Add(delta, &open);
  const auto it = cache_.find(row);
  if (it != cache_.end()) Add(delta, &it->second.values);
}

std::vector<TableClient::Outgoing> TableClient::Tick() {
  std::vector<int64_t> rows;
  rows.reserve(open_.size());
  for (const auto& [row, delta] : open_) rows.push_back(row);
  std::sort(rows.begin(), rows.end());
  std::vector<TableInc> incs(options_.servers);
  std::vector<Outgoing> sent;
  const auto finish = [&](int server) {
    TableInc& inc = incs[server];
    if (inc.rows.empty()) return;
    inc.table = options_.table;
    inc.rank = options_.rank;
    inc.clock = clock_;
    inc.sequence = ++logs_[server].last;
    logs_[server].incs.push_back({inc});
    sent.push_back({server, std::exchange(inc, TableInc())});
  };
  for (int64_t row : rows) {
    const int server = ServerOf(row);
    const std::vector<float>& delta = open_[row];
    incs[server].rows.push_back(row);
    incs[server].deltas.insert(incs[server].deltas.end(), delta.begin(),
                               delta.end());
    if (incs[server].rows.size() >= rows_a_message_) finish(server);
  }
  for (int server = 0; server < options_.servers; ++server) finish(server);
  open_.clear();
  ++clock_;
  return sent;
}

std::vector<TableClient::Outgoing> TableClient::Reconnected() {
  open_requests_.clear();
  asked_.clear();
  std::vector<Outgoing> again;
  for (int server = 0; server < options_.servers; ++server) {
    Log& log = logs_[server];
    log.floors.clear();
    Prune(log);
    for (const LoggedInc& each : log.incs)
      if (!each.acknowledged) again.push_back({server, each.inc});
  }
  return again;
}

void TableClient::OnAcknowledged(int server, uint64_t sequence) {
  Log& log = logs_[server];
  if (log.incs.empty() || sequence < log.incs.front().inc.sequence ||
      sequence > log.last) {
    return;
  }
  log.incs[sequence - log.incs.front().inc.sequence].acknowledged = true;
  for (const LoggedInc& each : log.incs) {
    if (each.inc.sequence <= log.acknowledged) continue;
    if (!each.acknowledged) break;
    log.acknowledged = each.inc.sequence;
  }
  Prune(log);
}

void TableClient::Prune(Log& log) {
  const uint64_t keep_after =
      log.floors.empty() ? log.acknowledged : log.floors.begin()->second;
  while (!log.incs.empty() && log.incs.front().inc.sequence <= keep_after) {
    log.incs.pop_front();
  }
}

size_t TableClient::logged() const {
  size_t count = 0;
  for (const Log& log : logs_) count += log.incs.size();
  return count;
}

}  // namespace cssp::ps

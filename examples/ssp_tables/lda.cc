// Topics of documents (latent Dirichlet allocation) by collapsed Gibbs
// sampling: a worker keeps its own documents' topics, how often a word has a
// topic is a table (words:1001x20:sparse=1001, the last row: all words).
#include <algorithm>
#include <cmath>
#include <vector>

#include "common/base/status_macros.h"
#include "examples/ssp_tables/app.h"

namespace cssp::examples {
namespace {

constexpr int kWords = 1000;
constexpr int kTopics = 20;
constexpr int kDocuments = 400;
constexpr int kLength = 80;  // words a document
constexpr double kAlpha = 0.1;
constexpr double kBeta = 0.05;
constexpr uint64_t kSeed = 2003;

struct Document {
  std::vector<int> words;
  std::vector<int> topics;  // sampled, by word
  std::vector<int> counts = std::vector<int>(kTopics);
};

// A true topic is the words near its own; a document has two of them.
std::vector<Document> OwnDocuments(int rank, int workers) {
  std::vector<Document> own;
  for (int d = rank; d < kDocuments; d += workers) {
    std::mt19937_64 random = Random(kSeed, 100 + d);
    std::normal_distribution<double> near(0, kWords / (4.0 * kTopics));
    const int topics[2] = {static_cast<int>(random() % kTopics),
                           static_cast<int>(random() % kTopics)};
    Document document;
    for (int i = 0; i < kLength; ++i) {
      const double middle =
          (topics[random() % 2] + 0.5) * (double{kWords} / kTopics);
      const int word = static_cast<int>(std::lround(middle + near(random)));
      document.words.push_back((word % kWords + kWords) % kWords);
    }
    own.push_back(std::move(document));
  }
  return own;
}

// Thread-confined.  The counts as this worker sees them in a clock, and what it
// has changed.
class Sampler {
 public:
  explicit Sampler(uint64_t stream) : random_(Random(kSeed, stream)) {}

  absl::Span<float> counts() { return absl::MakeSpan(counts_); }
  absl::Span<float> deltas() { return absl::MakeSpan(deltas_); }
  void Move(Document& document, int word, int topic, float by) {
    document.counts[topic] += static_cast<int>(by);
    for (int row : {word, kWords}) {
      counts_[row * kTopics + topic] += by;
      deltas_[row * kTopics + topic] += by;
    }
  }
  int Any() { return static_cast<int>(random_() % kTopics); }
  // A topic for a word of the document, which is in no count now; adds to the
  // log likelihood.  Stale counts may be below zero.
  int Sample(const Document& document, int word, double* log_likelihood) {
    double sum = 0, likelihood = 0;
    double upto[kTopics];
    const double length = kLength - 1 + kTopics * kAlpha;
    for (int k = 0; k < kTopics; ++k) {
      const double words = std::max(counts_[word * kTopics + k], 0.0f) + kBeta;
      const double all =
          std::max(counts_[kWords * kTopics + k], 0.0f) + kWords * kBeta;
      const double weight = (document.counts[k] + kAlpha) * words / all;
      likelihood += weight / length;
      upto[k] = sum += weight;
    }
    *log_likelihood += std::log(likelihood);
    const double drawn = std::uniform_real_distribution<double>(0, sum)(random_);
    return static_cast<int>(std::lower_bound(upto, upto + kTopics - 1, drawn) -
                            upto);
  }

 private:
  static constexpr size_t kCounts = size_t{kWords + 1} * kTopics;

  std::mt19937_64 random_;
  std::vector<float> counts_ = std::vector<float>(kCounts);  // by word, topic
  std::vector<float> deltas_ = std::vector<float>(kCounts);
};

absl::Status Run(App& app) {
  TableSession& tables = app.tables();
  ASSIGN_OR_RETURN(const int table, tables.FindTable("words"));
  std::vector<Document> documents = OwnDocuments(app.rank(), app.workers());
  Sampler sampler(app.rank());
  std::vector<int64_t> rows(kWords + 1);
  for (int i = 0; i <= kWords; ++i) rows[i] = i;
  for (int64_t clock = 0; clock < app.clocks(); ++clock) {
    app.BeginClock();
    RETURN_IF_ERROR(tables.BatchGet(table, rows, sampler.counts()));
    app.BeginCompute();
    std::fill(sampler.deltas().begin(), sampler.deltas().end(), 0.0f);
    double log_likelihood = 0;
    for (Document& document : documents) {
      const bool first = document.topics.empty();
      document.topics.resize(kLength);
      for (int i = 0; i < kLength; ++i) {
        const int word = document.words[i];
        int& topic = document.topics[i];
        if (!first) sampler.Move(document, word, topic, -1);
        const int drawn = sampler.Sample(document, word, &log_likelihood);
        topic = first ? sampler.Any() : drawn;
        sampler.Move(document, word, topic, 1);
      }
    }
    RETURN_IF_ERROR(tables.BatchInc(table, rows, sampler.deltas()));
    RETURN_IF_ERROR(app.EndClock(-log_likelihood / (kDocuments * kLength)));
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace cssp::examples

int main(int argc, char** argv) {
  return cssp::examples::App::Main(argc, argv, cssp::examples::Run);
}

#include "tests/conformance/layers/case_file.h"

#include <cstring>
#include <fstream>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/base/status_macros.h"

namespace cssp::testing {
namespace {

class Reader {
 public:
  explicit Reader(absl::string_view bytes) : bytes_(bytes) {}

  bool ok() const { return ok_; }
  bool at_end() const { return at_ == bytes_.size(); }

  template <class T>
  T Number() {
    T value{};
    Take(&value, sizeof value);
    return value;
  }

  std::string String() {
    std::string text(Count(1), '\0');
    Take(text.data(), text.size());
    return text;
  }

  Arrays ArrayList() {
    Arrays arrays(Count(sizeof(uint32_t)));
    for (Array& array : arrays) array = OneArray();
    return arrays;
  }

  // The entries of a list, each at least `bytes` long.
  size_t Count(size_t bytes) {
    const uint32_t count = Number<uint32_t>();
    if (count * bytes > bytes_.size() - at_) ok_ = false;
    return ok_ ? count : 0;
  }

 private:
  Array OneArray() {
    std::vector<int64_t> dims(Count(sizeof(int64_t)));
    for (int64_t& dim : dims) dim = Number<int64_t>();
    auto shape = Shape::Create(dims);
    if (!shape.ok() || shape->count() > static_cast<int64_t>(bytes_.size())) {
      ok_ = false;
      return {};
    }
    Array array{*shape, Values(shape->count())};
    Take(array.values.data(), array.values.size() * sizeof(float));
    return array;
  }

  void Take(void* to, size_t bytes) {
    if (bytes > bytes_.size() - at_) ok_ = false;
    if (!ok_ || bytes == 0) return;
    std::memcpy(to, bytes_.data() + at_, bytes);
    at_ += bytes;
  }

  const absl::string_view bytes_;
  size_t at_ = 0;
  bool ok_ = true;
};

class Writer {
 public:
  explicit Writer(const std::string& path) : out_(path, std::ios::binary) {}

  void Count(size_t count) { Number(static_cast<uint32_t>(count)); }

  void String(const std::string& text) {
    Count(text.size());
    out_.write(text.data(), text.size());
  }

  void ArrayList(const Arrays& arrays) {
    Count(arrays.size());
    for (const Array& array : arrays) {
      Count(array.shape.num_axes());
      for (int64_t dim : array.shape.dims()) Number(dim);
      out_.write(reinterpret_cast<const char*>(array.values.data()),
                 array.values.size() * sizeof(float));
    }
  }

  bool Close() {
    out_.close();
    return out_.good();
  }

 private:
  template <class T>
  void Number(T value) {
    out_.write(reinterpret_cast<const char*>(&value), sizeof value);
  }

  std::ofstream out_;
};

Case ReadCase(Reader& in) {
  Case c;
  c.name = in.String();
  c.text = in.String();
  c.kind = static_cast<CaseKind>(in.Number<uint8_t>());
  c.phase = static_cast<caffe::Phase>(in.Number<uint8_t>());
  c.offer = static_cast<Offer>(in.Number<uint8_t>());
  c.param = in.ArrayList();
  c.steps.resize(in.Count(2 * sizeof(uint32_t)));
  for (Case::Step& step : c.steps) {
    step.bottom = in.ArrayList();
    step.top_gradient = in.ArrayList();
  }
  return c;
}

}  // namespace

absl::StatusOr<std::vector<Case>> ReadCases(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return absl::NotFoundError(absl::StrCat("no file '", path, "'"));
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  Reader in(bytes);
  std::vector<Case> cases(in.Count(sizeof(uint32_t)));
  for (Case& c : cases) {
    if (in.ok()) c = ReadCase(in);
  }
  if (!in.ok() || !in.at_end()) {
    return absl::DataLossError(absl::StrCat("'", path, "' is no case file"));
  }
  return cases;
}

absl::Status WriteAnswers(const std::vector<Answer>& answers,
                          const std::string& path) {
  Writer out(path);
  out.Count(answers.size());
  for (const Answer& answer : answers) {
    out.String(answer.name);
    out.String(answer.error);
    out.Count(answer.steps.size());
    for (const Answer::Step& step : answer.steps) {
      out.ArrayList(step.top);
      out.ArrayList(step.bottom_gradient);
      out.ArrayList(step.param_gradient);
    }
  }
  if (out.Close()) return absl::OkStatus();
  return absl::UnknownError(absl::StrCat("cannot write '", path, "'"));
}

std::string Difference(const char* what, const std::vector<Values>& a,
                       const std::vector<Values>& b) {
  if (a.size() != b.size()) return absl::StrCat(what, ": another number; ");
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i].size() != b[i].size()) {
      return absl::StrCat(what, " ", i, ": another size; ");
    }
    for (size_t j = 0; j < a[i].size(); ++j) {
      if (std::memcmp(&a[i][j], &b[i][j], sizeof(float)) != 0) {
        return absl::StrCat(what, " ", i, "[", j, "]: ", a[i][j], " and ",
                            b[i][j], "; ");
      }
    }
  }
  return "";
}

}  // namespace cssp::testing

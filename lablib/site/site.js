// The search of the site. It finds the sections that have all words of the query, wherever in a word:
// so it needs no word boundaries, which Chinese doesn't write.
"use strict";

const MOST = 30;
const AROUND = 60;

function score(section, words) {
  const [, title, , heading, text] = section.map((part) => part.toLowerCase());
  let sum = 0;
  for (const word of words) {
    const inText = text.split(word).length - 1;
    const inHeading = heading.includes(word);
    const inTitle = title.includes(word);
    if (!inText && !inHeading && !inTitle) return 0;
    sum += Math.min(inText, 5) + 20 * inHeading + 2 * inTitle + 50 * (heading === word);
  }
  return sum;
}

// What is written without blanks is looked for as it stands; if nothing has it, word by word.
function find(sections, query) {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  const found = findWords(sections, words);
  if (found.length || !Intl.Segmenter) return found;
  const parts = new Intl.Segmenter("zh", { granularity: "word" }).segment(words.join(" "));
  return findWords(sections, [...parts].filter((part) => part.isWordLike).map((part) => part.segment));
}

function findWords(sections, words) {
  if (!words.length) return [];
  return sections
    .map((section) => ({ section, score: score(section, words), words }))
    .filter((found) => found.score)
    .sort((one, other) => other.score - one.score);
}

function excerpt({ section, words }) {
  const text = section[4];
  const at = text.toLowerCase().indexOf(words[0]);
  const line = document.createElement("div");
  if (at < 0) {
    line.textContent = text.slice(0, 2 * AROUND);
    return line;
  }
  const end = at + words[0].length;
  const mark = document.createElement("mark");
  mark.textContent = text.slice(at, end);
  line.append(at > AROUND ? "… " : "", text.slice(Math.max(0, at - AROUND), at), mark);
  line.append(text.slice(end, end + AROUND), end + AROUND < text.length ? " …" : "");
  return line;
}

function entry(found) {
  const [page, title, anchor, heading] = found.section;
  const link = document.createElement("a");
  link.href = `${document.body.dataset.root}${page}#${anchor}`;
  link.textContent = heading === title ? title : `${title}: ${heading}`;
  const item = document.createElement("li");
  item.append(link, excerpt(found));
  return item;
}

function show(sections, query) {
  const results = document.getElementById("results");
  results.hidden = !query.trim();
  if (results.hidden) return;
  const found = find(sections, query);
  const words = document.body.dataset;
  results.querySelector("p").textContent = found.length
    ? words.found.replace("{count}", found.length)
    : words.nothing;
  results.querySelector("ol").replaceChildren(...found.slice(0, MOST).map(entry));
}

// The index is as large as the workbook: it is read when somebody searches.
let loading = null;
function load() {
  loading ??= new Promise((done) => {
    const script = document.createElement("script");
    script.src = document.body.dataset.index;
    script.onload = () => done(window.labSections);
    document.head.append(script);
  });
  return loading;
}

const query = document.getElementById("query");
const search = async () => show(await load(), query.value);
query.addEventListener("focus", load);
query.addEventListener("input", search);
query.form.addEventListener("submit", (event) => {
  event.preventDefault();
  search();
});

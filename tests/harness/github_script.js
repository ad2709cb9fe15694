// What actions/github-script does with its script, in front of a repository's comments, issues, branches and pull requests
// that are kept in a file:
//     node github_script.js SCRIPT KEPT.json
// Lists come in pages of 30; a body of more than 65,536 characters is refused, as GitHub refuses it.
const fs = require('fs')
const [script, kept] = process.argv.slice(2)
const { comments, issues: all, branches = {}, requests = [] } = JSON.parse(fs.readFileSync(kept, 'utf8'))
const repo = { owner: 'me', repo: 'speech' }

function check (given, expected) {
  for (const [name, value] of Object.entries(expected)) {
    if (given[name] !== value) throw new Error(`${name} is ${given[name]}, not ${value}`)
  }
  if ('body' in given && given.body.length > 65536) throw new Error('Validation Failed: body is too long')
}

const pageOf = (list, given) => ({ data: list.slice((given.page - 1) * 30, given.page * 30) })

const issues = {
  async listComments (given) {
    check(given, { ...repo, issue_number: 7 })
    return pageOf(comments, given)
  },
  async createComment (given) {
    check(given, { ...repo, issue_number: 7 })
    comments.push({ id: comments.length + 1, body: given.body })
  },
  async updateComment (given) {
    check(given, repo)
    comments.find(comment => comment.id === given.comment_id).body = given.body
  },
  async listForRepo (given) {
    check(given, repo)
    return pageOf(all.filter(issue => issue.state === given.state), given)
  },
  async create (given) {
    check(given, repo)
    all.push({ number: all.length + 1, state: 'open', title: given.title, body: given.body })
  },
  async update (given) {
    check(given, repo)
    const { owner, repo: name, issue_number: number, ...changed } = given
    Object.assign(all.find(issue => issue.number === number), changed)
  }
}
const trees = {}
const commits = {}
const git = {
  async createTree (given) {
    check(given, { ...repo, base_tree: 'c0ffee' })
    trees.tree1 = Object.fromEntries(given.tree.map(file => [file.path, file.content]))
    return { data: { sha: 'tree1' } }
  },
  async createCommit (given) {
    check(given, repo)
    if (given.parents[0] !== 'c0ffee') throw new Error('not from here')
    commits.commit1 = trees[given.tree]
    return { data: { sha: 'commit1' } }
  },
  async updateRef (given) {
    check(given, { ...repo, force: true })
    const name = given.ref.replace('heads/', '')
    if (!(name in branches)) throw Object.assign(new Error('Reference does not exist'), { status: 422 })
    branches[name] = commits[given.sha]
  },
  async createRef (given) {
    check(given, repo)
    branches[given.ref.replace('refs/heads/', '')] = commits[given.sha]
  }
}
const pulls = {
  async list (given) {
    check(given, { ...repo, state: 'open' })
    return pageOf(requests.filter(each => 'me:' + each.head === given.head), given)
  },
  async create (given) {
    check(given, repo)
    requests.push({ number: requests.length + 1, title: given.title, body: given.body, head: given.head, base: given.base })
  },
  async update (given) {
    check(given, repo)
    Object.assign(requests[given.pull_number - 1], { title: given.title, body: given.body })
  }
}
const github = {
  rest: { issues, git, pulls },
  async paginate (method, given) {
    const found = []
    for (let page = 1, data; page === 1 || data.length; page++) {
      data = (await method({ ...given, page })).data
      found.push(...data)
    }
    return found
  }
}
const context = { repo, issue: { number: 7 }, workflow: 'whisperctl', sha: 'c0ffee', ref: 'refs/heads/main' }
const AsyncFunction = (async () => {}).constructor
const run = new AsyncFunction('require', 'github', 'context', 'core', fs.readFileSync(script, 'utf8'))
run(require, github, context, {}).then(
  () => fs.writeFileSync(kept, JSON.stringify({ comments, issues: all, branches, requests })),
  error => { console.error(`Error: ${error.message}`); process.exit(1) }
)

// What actions/github-script does with its script, in front of a pull request's comments that are kept in a file:
//     node github_script.js SCRIPT COMMENTS.json
// Comments come in pages of 30; a body of more than 65,536 characters is refused, as GitHub refuses it.
const fs = require('fs')
const [script, kept] = process.argv.slice(2)
const comments = JSON.parse(fs.readFileSync(kept, 'utf8'))
const repo = { owner: 'me', repo: 'speech' }

function check (given, expected) {
  for (const [name, value] of Object.entries(expected)) {
    if (given[name] !== value) throw new Error(`${name} is ${given[name]}, not ${value}`)
  }
  if ('body' in given && given.body.length > 65536) throw new Error('Validation Failed: body is too long')
}

const issues = {
  async listComments (given) {
    check(given, { ...repo, issue_number: 7 })
    return { data: comments.slice((given.page - 1) * 30, given.page * 30) }
  },
  async createComment (given) {
    check(given, { ...repo, issue_number: 7 })
    comments.push({ id: comments.length + 1, body: given.body })
  },
  async updateComment (given) {
    check(given, repo)
    comments.find(comment => comment.id === given.comment_id).body = given.body
  }
}
const github = {
  rest: { issues },
  async paginate (method, given) {
    const all = []
    for (let page = 1, data; page === 1 || data.length; page++) {
      data = (await method({ ...given, page })).data
      all.push(...data)
    }
    return all
  }
}
const AsyncFunction = (async () => {}).constructor
const run = new AsyncFunction('require', 'github', 'context', 'core', fs.readFileSync(script, 'utf8'))
run(require, github, { repo, issue: { number: 7 } }, {}).then(
  () => fs.writeFileSync(kept, JSON.stringify(comments)),
  error => { console.error(`Error: ${error.message}`); process.exit(1) }
)

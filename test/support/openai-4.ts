// Version 4 chooses its fetch when it is imported first: Node's own, like the later ones. Files of one worker share it.
import 'openai-4/shims/web'

export { default } from 'openai-4'

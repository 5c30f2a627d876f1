trl sft --model_name_or_path Qwen/Qwen3-0.6B --dataset_name trl-lib/Capybara --dataset_train_split train \
  --packing --assistant_only_loss --eos_token '<|im_end|>' --max_length 2048 --learning_rate 2.0e-5 \
  --num_train_epochs 1 --dtype bfloat16 --attn_implementation flash_attention_2 --logging_steps 5 \
  --num_processes 2 --accelerate_config zero2 --output_dir out --report_to none
